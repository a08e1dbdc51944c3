"""A worker that two nodes run, placed next to its data, where machines turn out to be slow."""

from __future__ import annotations

import secrets
import threading
import time
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest
from tests.core.node.test_several_locations import Pair

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: asks for its data three times, and takes long for it on the machine that is next to the data
PROGRAM = """
import os, time, urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        for _ in range(3 if self.path != "/health" else 0):
            urllib.request.urlopen("http://data.test/", timeout=30).read()
        time.sleep(0.3 if os.environ["KEDGE_LOCATION"] == "far" else 0.0)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_): pass
ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
TOML = """
[worker]
kind = "command"
entry = ["python3", "-S", "server.py"]
health = "/health"
[worker.placement]
mode = "smart"
"""
#: half of the requests stay to compare with, and a placement that is in vain is taken back at once
SMART = 'use = "smart"\n[requests.smart]\nmin_invocations = 10\nbaseline = 0.5\ndwell_seconds = 0\n'


@contextmanager
def data(way: float) -> Iterator[str]:
    """Data that is so many seconds away, there and back; its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            time.sleep(way)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (named by the base class)
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with ExitStack() as stack:
        ways = {"near": 0.06, "far": 0.0}

        addresses = {name: stack.enter_context(data(way)) for name, way in ways.items()}

        class Slow(Pair):
            toml, requests = TOML, SMART
            more = MappingProxyType(
                {
                    name: f'[egress]\nconnect_to = {{ "data.test:80" = "{address}" }}\n'
                    for name, address in addresses.items()
                }
            )

        key = secrets.token_hex()
        made = Slow(tmp_path, (key, key), program=PROGRAM)
        stack.callback(made.stop)
        yield made


@pytest.mark.timeout(240)
def test_a_placement_that_measures_slower_is_taken_back_and_marked(pair: Pair) -> None:
    server = pair.nodes["near"].server
    assert "status" not in server.get("/workers/scripts/where/settings")["placement"]

    pair.ask_until("local-near")
    assert status_after_a_few_requests(pair) == "INSUFFICIENT_INVOCATIONS"

    pair.ask_until("remote-far")
    (placed,) = server.get("/workers/workers/where/placement")["routes"]
    assert (placed["location"], placed["status"]) == ("far", "SUCCESS")

    while server.get("/workers/workers/where/placement")["placement_status"] == "SUCCESS":
        assert pair.ask().status_code == 200

    (taken_back,) = server.get("/workers/workers/where/placement")["routes"]
    assert taken_back["location"] == "near"
    assert taken_back["reason"] == "at far it was slower than near its visitor"
    script = server.get("/workers/services/where")["default_environment"]["script"]
    assert script["placement_status"] == "UNSUPPORTED_APPLICATION"
    settings = server.get("/workers/scripts/where/settings")["placement"]
    analyzed = datetime.fromisoformat(settings.pop("last_analyzed_at"))
    assert abs(analyzed - datetime.now(UTC)) < timedelta(minutes=1)
    assert settings == {"mode": "smart", "status": "UNSUPPORTED_APPLICATION"}
    assert {pair.ask().headers["cf-placement"] for _ in range(20)} == {"local-near"}


def status_after_a_few_requests(pair: Pair) -> str:
    """As every part of the API tells it, once it is known what a request has asked for."""
    server = pair.nodes["near"].server
    while (status := server.get("/workers/workers/where/placement")["placement_status"]) is None:
        pair.ask()
    (route,) = server.get("/workers/workers/where/placement")["routes"]
    assert (route["location"], route["status"], route["reason"]) == (
        "near",
        status,
        "too little traffic to tell",
    )
    assert 0 < route["invocations"] < 10
    script = server.get("/workers/services/where")["default_environment"]["script"]
    settings = server.get("/workers/scripts/where/settings")["placement"]
    assert (script["placement_status"], settings["status"]) == (status, status)
    return str(status)
