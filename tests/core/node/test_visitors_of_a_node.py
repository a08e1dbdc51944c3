"""What a node makes of visitors who come by IPv6, or send and take more than memory should hold."""

from __future__ import annotations

import json
import socket
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from tests.core.node.worker_of import TOML, command

from kedge.testing.node import RunningNode

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE = 60.0
MIB = 1024 * 1024
LARGE = 300 * MIB
#: by which a node may grow for a body of any size
BOUND = 24 * MIB
PROGRAM = """
import json, os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path == "/large":
            self.send_response(200)
            self.send_header("Content-Length", str(LARGE))
            self.end_headers()
            for _ in range(LARGE // (1 << 20)):
                self.wfile.write(bytes(1 << 20))
            return
        self.tell({name.lower(): value for name, value in self.headers.items()})
    def do_POST(self):
        size, left = 0, int(self.headers["Content-Length"])
        while left and (data := self.rfile.read(min(left, 1 << 20))):
            size, left = size + len(data), left - len(data)
        self.tell(size)
    def tell(self, what):
        body = json.dumps(what).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


def node_on(folder: Path, listen: str) -> RunningNode:
    trusted = '["10.0.0.0/8", "127.0.0.0/8"]'
    config = f'[gateway]\nbody = "1 GiB"\ntrusted_proxies = {trusted}\n'
    node = RunningNode(folder, config).start(listen)
    node.server.post("/workers/workers", {"name": "hello"})
    (folder / "project").mkdir()
    (folder / "project" / "server.py").write_text(PROGRAM.replace("LARGE", str(LARGE)))
    (folder / "project" / "kedge.toml").write_text(TOML)
    command(node, "deploy", ".", folder=folder / "project")
    return node


@pytest.fixture
def node(tmp_path: Path) -> Iterator[RunningNode]:
    made = node_on(tmp_path, "[::]:0")
    yield made
    made.stop()


def connection(node: RunningNode, address: str) -> HTTPConnection:
    return HTTPConnection(address, urlsplit(node.server.url).port, timeout=PATIENCE)


def told(node: RunningNode, address: str, path: str = "/", **headers: str) -> Any:
    asking = connection(node, address)
    named = {"host": "hello.localhost"} | headers
    asking.request("GET", path, headers={name.replace("_", "-"): value for name, value in named.items()})
    answer = asking.getresponse()
    body = json.loads(answer.read())
    assert answer.status == 200
    asking.close()
    return body


def test_visitors_of_both_protocols_are_introduced_by_their_own_addresses(node: RunningNode) -> None:
    six, four = told(node, "::1"), told(node, "127.0.0.1")
    assert (six["x-forwarded-for"], four["x-forwarded-for"]) == ("::1", "127.0.0.1")
    claims = {"x_forwarded_for": "2001:db8::5", "x_forwarded_proto": "https"}
    # a trusted proxy is one by either, a stranger by neither
    proxied, stranger = told(node, "127.0.0.1", **claims), told(node, "::1", **claims)
    assert (proxied["x-forwarded-for"], proxied["x-forwarded-proto"]) == ("2001:db8::5", "https")
    assert (stranger["x-forwarded-for"], stranger["x-forwarded-proto"]) == ("::1", "http")


@pytest.mark.parametrize("host", ["[::1]", "[::1]:8787", "127.0.0.1"])
def test_a_host_that_is_an_address_is_the_nodes_own(node: RunningNode, host: str) -> None:
    assert told(node, "::1", "/healthz", host=host) == {"status": "ok"}


def resident(pid: int) -> int:
    """The most that a process had in memory since the last `forget_peak`."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def forget_peak(pid: int) -> int:
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return resident(pid)


def test_a_body_of_any_size_goes_through_a_node_that_stays_small(node: RunningNode) -> None:
    told(node, "::1")
    before, asking = forget_peak(node.pid), connection(node, "::1")
    headers = {"Host": "hello.localhost", "Content-Length": str(LARGE)}
    asking.request("POST", "/", body=(bytes(MIB) for _ in range(LARGE // MIB)), headers=headers)
    assert json.loads(asking.getresponse().read()) == LARGE
    asking.close()
    assert resident(node.pid) - before < BOUND


def test_an_answer_that_nobody_takes_stays_with_the_worker(node: RunningNode) -> None:
    told(node, "::1")
    before = forget_peak(node.pid)
    with socket.create_connection(("::1", urlsplit(node.server.url).port), timeout=PATIENCE) as visitor:
        visitor.sendall(b"GET /large HTTP/1.1\r\nHost: hello.localhost\r\nConnection: close\r\n\r\n")
        begun = visitor.recv(1024)
        assert begun.startswith(b"HTTP/1.1 200 OK\r\n")
        # whoever asks meanwhile is answered, and then that one takes the rest
        told(node, "127.0.0.1")
        grown = resident(node.pid) - before
        taken = len(begun)
        while data := visitor.recv(MIB):
            taken += len(data)
    assert taken > LARGE
    assert max(grown, resident(node.pid) - before) < BOUND
