"""Two nodes of two locations: requests run where they are told, and here when that node is gone."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import socket
import ssl
import subprocess
import sys
import time
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import httpx
import orjson
import pytest

from kedge.cli.placement_demo.certificate import make_certificate
from kedge.placement.cluster_key import ClusterKey, Forwarded
from kedge.testing.delay_proxy import DelayProxy
from kedge.testing.node import RunningNode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

#: tells where it runs, what it was told of the request, and how long its body was
PROGRAM = """
import json, os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        size = len(self.rfile.read(int(self.headers["Content-Length"] or 0)))
        told = {"location": os.environ["KEDGE_LOCATION"], "headers": dict(self.headers), "size": size}
        body = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("kedge-moment", "a worker says so/1")
        self.end_headers()
        self.wfile.write(body)
    do_POST = do_GET
    def log_message(self, *_): pass
ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
TOML = """
[worker]
kind = "command"
entry = ["python3", "-S", "server.py"]
[worker.placement]
region = "test:far"
"""


def free_port() -> int:
    while True:
        port = random.randrange(20000, 30000)  # noqa: S311
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Pair:
    """A node that is near, one that is far, and a worker on both that wants to be far."""

    toml = TOML
    requests = ""
    #: what else the nodes' configuration says
    more: Mapping[str, str] = MappingProxyType({"near": "", "far": ""})

    def __init__(
        self,
        folder: Path,
        keys: tuple[str, str],
        *,
        program: str = PROGRAM,
        link: DelayProxy | None = None,
        ca: str = "",
    ) -> None:
        """`link` is the way by which the near node reaches the far one; `ca` a file, if it speaks TLS."""
        self.ports = {name: free_port() for name in ("near", "far")}
        self.nodes: dict[str, RunningNode] = {}
        self._program = program
        self.key = keys[0]
        if link is not None:
            link.target = f"127.0.0.1:{self.ports['far']}"
        for name, key in zip(self.ports, keys, strict=True):
            other, other_port = next(item for item in self.ports.items() if item[0] != name)
            way = f"http://127.0.0.1:{other_port}"
            if link is not None and other == "far":
                way = (
                    f"https://localhost:{link.address.partition(':')[2]}" if ca else f"http://{link.address}"
                )
            secret = folder / f"{name}.key"
            trust = f'peers_ca = "file:{ca}"\n' if ca else ""
            secret.write_text(key)
            config = (
                f'[node]\nname = "{name}"\nlocation = "{name}"\nregion = "test:{name}"\n'
                f'cluster_key = "file:{secret}"\n{trust}'
                f'[requests]\nexchange = "100 ms"\n{self.requests}'
                f'[peers.{other}]\nurl = "{way}"\nlocation = "{other}"\n'
                f'region = "test:{other}"\n{self.more[name]}'
            )
            (folder / name).mkdir()
            self.nodes[name] = RunningNode(folder / name, config)
            self.start(name)
            self.deploy(name, folder / f"{name}-worker")

    def start(self, name: str) -> None:
        self.nodes[name].start(f"127.0.0.1:{self.ports[name]}")

    def deploy(self, name: str, folder: Path) -> None:
        folder.mkdir()
        (folder / "server.py").write_text(self._program)
        (folder / "kedge.toml").write_text(self.toml)
        server = self.nodes[name].server
        server.post("/workers/workers", {"name": "where"})
        where = {"KEDGE_URL": server.url, "KEDGE_TOKEN": server.token, "KEDGE_WORKER": "where"}
        deployed = subprocess.run(
            [sys.executable, "-m", "kedge", "deploy", "."],
            cwd=folder,
            env=os.environ | where,
            check=False,
            capture_output=True,
            text=True,
        )
        assert deployed.returncode == 0, deployed.stderr

    def ask(self, method: str = "GET", *, node: str = "near", **more: Any) -> httpx.Response:
        headers = {"Host": "where.localhost", **more.pop("headers", {})}
        url = self.nodes[node].server.url
        return httpx.request(method, f"{url}/x?y=1", headers=headers, trust_env=False, timeout=60, **more)

    def ask_until(self, placement: str) -> httpx.Response:
        """Ask until a request runs there; none may fail on the way."""
        while True:
            answer = self.ask()
            assert answer.status_code == 200, answer.text
            if answer.headers["cf-placement"] == placement:
                return answer

    def stop(self) -> None:
        for node in self.nodes.values():
            with suppress(AssertionError):
                node.stop()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    key = secrets.token_hex()
    made = Pair(tmp_path, (key, key))
    yield made
    made.stop()


def test_requests_run_where_they_are_told_and_here_while_that_node_is_gone(pair: Pair) -> None:
    told = pair.ask_until("remote-far").json()
    assert told["location"] == "far"
    assert told["headers"]["x-forwarded-for"] == "127.0.0.1"
    assert told["headers"]["host"] == "where.localhost"
    assert not [name for name in told["headers"] if name.lower().startswith("kedge-")]

    posted = pair.ask("POST", content=b"x" * 3_000_000)
    assert (posted.headers["cf-placement"], posted.json()["size"]) == ("remote-far", 3_000_000)
    assert "kedge-calls" not in posted.headers

    pair.nodes["far"].kill()
    assert pair.ask_until("local-near").json()["location"] == "near"
    pair.start("far")
    assert pair.ask_until("remote-far").json()["location"] == "far"


def test_what_a_visitor_claims_to_be_a_node_says_counts_for_nothing(pair: Pair) -> None:
    pair.ask_until("remote-far")
    forged = orjson.dumps([0, "far", "6.6.6.6", "https", "mine"]).hex() + ".00"
    told = pair.ask(headers={"kedge-forward": forged}).json()
    assert told["headers"]["x-forwarded-for"] == "127.0.0.1"
    assert told["headers"]["x-request-id"] != "mine"

    exchange = f"{pair.nodes['far'].server.url}/api/peers/exchange"
    refused = httpx.post(exchange, json={"targets": {}}, trust_env=False)
    assert (refused.status_code, refused.headers.get("kedge-moment")) == (401, None)

    # whoever hears what nodes say to each other cannot say it again
    key, said = (
        ClusterKey(pair.key),
        Forwarded(entry="near", visitor="6.6.6.6", scheme="https", request_id="r"),
    )
    signed = key.sign(said, "POST", b"where.localhost", b"/x?y=1", moment=b"")
    answers = [pair.ask("POST", node="far", headers={"kedge-forward": signed.decode()})]
    moment = answers[0].headers["kedge-moment"].encode()
    signed = key.sign(said, "POST", b"where.localhost", b"/x?y=1", moment=moment)
    answers += [pair.ask("POST", node="far", headers={"kedge-forward": signed.decode()}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [401, 200, 401]
    assert answers[1].json()["headers"]["x-forwarded-for"] == "6.6.6.6"
    assert answers[2].content == b""


def test_nodes_with_different_keys_pass_nothing_on(tmp_path: Path) -> None:
    made = Pair(tmp_path, (secrets.token_hex(), secrets.token_hex()))
    try:
        # the far one was started when the near one answered already
        while "peer_silent" not in made.nodes["far"].said():
            time.sleep(0.02)
        assert "it answered with status 401" in made.nodes["far"].said()
        for _ in range(20):
            assert made.ask().headers["cf-placement"] == "local-near"
        assert all("peer_found" not in node.said() for node in made.nodes.values())
    finally:
        made.stop()


async def test_nodes_reach_each_other_over_tls_if_the_certificate_is_the_one_they_know(
    tmp_path: Path,
) -> None:
    key, own, other = secrets.token_hex(), tmp_path / "own.pem", tmp_path / "other.pem"
    for file in (own, other):
        file.write_bytes(make_certificate("localhost"))
    speaks = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    speaks.load_cert_chain(own)
    async with DelayProxy("127.0.0.1:1", delay=0.0, tls=speaks) as link:
        pair = await asyncio.to_thread(Pair, tmp_path, (key, key), link=link, ca=str(own))
        try:
            async with asyncio.timeout(60):
                told = (await asyncio.to_thread(pair.ask_until, "remote-far")).json()
                assert told["headers"]["x-forwarded-for"] == "127.0.0.1"
                posted = await asyncio.to_thread(pair.ask, "POST", content=b"x" * 3_000_000)
                assert (posted.headers["cf-placement"], posted.json()["size"]) == ("remote-far", 3_000_000)
                # somebody else answers now at that address
                speaks.load_cert_chain(other)
                link.cut()
                link.mend()
                await asyncio.to_thread(pair.ask_until, "local-near")
            assert "certificate verify failed" in pair.nodes["near"].said()
        finally:
            await asyncio.to_thread(pair.stop)


def test_the_demo_of_placement_moves_a_worker_to_its_data(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "kedge", "demo", "--placement", "--requests", "220", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    found = orjson.loads(done.stdout)
    assert found["location"] == found["best_location"] == "frankfurt"
    assert found["decided_after_requests"] <= 1000
    assert found["median_placed_ms"] < found["median_unplaced_ms"]
