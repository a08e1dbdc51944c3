"""What becomes of visitors whose node is told to stop."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.core.node.worker_of import deploy

from kedge.testing.node import RunningNode

if TYPE_CHECKING:
    from concurrent.futures import Future
    from pathlib import Path

PATIENCE = 60.0


class Visitor:
    """A connection, byte for byte."""

    def __init__(self, node: RunningNode, said: str = "") -> None:
        parts = urlsplit(node.server.url)
        self._socket = socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE)
        if said:
            self.say(f"{said} HTTP/1.1\r\nHost: hello.localhost\r\n".encode())

    def say(self, data: bytes) -> None:
        self._socket.sendall(data)

    def hear(self, awaited: bytes) -> None:
        heard = b""
        while awaited not in heard:
            data = self._socket.recv(1 << 16)
            assert data, heard
            heard += data

    def rest(self) -> bytes:
        """What comes until the connection ends in good order."""
        heard = b""
        with self._socket:
            while data := self._socket.recv(1 << 16):
                heard += data
        return heard


def stoppable(folder: Path, drain: str) -> RunningNode:
    node = RunningNode(
        folder, f'[server]\ndrain_timeout = "{drain}"\n[runtime]\nstop_grace = "0 s"\n'
    ).start()
    node.server.post("/workers/workers", {"name": "hello"})
    deploy(node, folder, "one")
    return node


def told_to_stop(node: RunningNode) -> Future[int]:
    """Its exit code, later."""
    pool = ThreadPoolExecutor(1)
    stopping = pool.submit(node.stop)
    pool.shutdown(wait=False)
    return stopping


def wait_for(file: Path) -> None:
    end = time.monotonic() + PATIENCE
    while not file.exists():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_node_that_stops_ends_what_waits_for_nothing_and_completes_what_it_answers(
    tmp_path: Path,
) -> None:
    begun = tmp_path / "begun"
    node = stoppable(tmp_path, "60 s")
    idle, fresh, half = Visitor(node, "GET /"), Visitor(node), Visitor(node, "GET /")
    idle.say(b"\r\n")
    idle.hear(b"\r\n\r\none ")
    answered = Visitor(node, "GET /ends")
    answered.say(b"\r\n")
    wait_for(begun)
    begun.unlink()
    sending = Visitor(node, "POST /upload")
    sending.say(b"Content-Length: 2000000\r\n\r\n" + b"x" * 1_000_000)
    wait_for(begun)

    stopping = told_to_stop(node)

    assert [idle.rest(), fresh.rest(), half.rest()] == [b"", b"", b""]
    sending.say(b"x" * 1_000_000)
    head, _, body = sending.rest().partition(b"\r\n\r\n")
    assert (head.splitlines()[0], b"connection: close" in head, body) == (
        b"HTTP/1.1 200 OK",
        True,
        b"2000000",
    )
    (tmp_path / "end").touch()
    head, _, body = answered.rest().partition(b"\r\n\r\n")
    assert (b"connection: close" in head, body[:4]) == (True, b"one ")
    assert stopping.result() == 0


def test_a_stream_that_does_not_end_is_ended_once_time_is_up(tmp_path: Path) -> None:
    node = stoppable(tmp_path, "0.5 s")
    stream = Visitor(node, "GET /stream")
    stream.say(b"\r\n")
    stream.hear(b"data: more\n\n")
    began, stopping = time.monotonic(), told_to_stop(node)
    assert stream.rest().endswith(b"data: more\n\n\r\n")
    assert 0.5 <= time.monotonic() - began < PATIENCE
    assert stopping.result() == 0
