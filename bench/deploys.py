"""Deploys while 500 requests a second come in: none is lost, and few are slow."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.figures import Figure, p50
from bench.node import running_node

if TYPE_CHECKING:
    from pathlib import Path

    from bench.node import Node

RATE = 500
CONNECTIONS = 25
DEPLOYS = 10
#: of the same load without a deploy
CALM_SECONDS = 20.0
WORKER = "busy"
ASKS = f"GET / HTTP/1.1\r\nHost: {WORKER}.localhost\r\n\r\n".encode()
APP = """
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        await send({"type": "http.response.body", "body": b"VERSION"})
"""
TOML = '[worker]\nkind = "asgi"\nentry = "app:app"\n'


@dataclass
class Seen:
    """What the visitors saw."""

    milliseconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    version: bytes = b""
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def answer(self, body: bytes, began: float) -> None:
        self.milliseconds.append((time.perf_counter() - began) * 1000)
        if body != self.version:
            self.version = body
            self.changed.set()

    def p99(self) -> float:
        """In milliseconds."""
        return sorted(self.milliseconds)[int(len(self.milliseconds) * 0.99)]


def measure() -> list[Figure]:
    """Failures and latencies at the same rate, with deploys and without."""
    with running_node() as node:
        node.server.post("/workers/workers", {"name": WORKER})
        _deploy(node, 0)
        calm, busy = asyncio.run(_measure(node))
    for failure in busy.failures[:5]:
        print(failure, file=sys.stderr)
    requests = len(busy.milliseconds) + len(busy.failures)
    title = f"{DEPLOYS} deploys under {RATE} requests/s"
    return [
        Figure(
            name=f"{title}: lost of {requests}",
            value=len(busy.failures),
            unit="requests",
            target=0,
            baseline=len(calm.failures),
            baseline_name="no deploys",
        ),
        *[
            Figure(
                name=f"{title}: {name}", value=value, unit="ms", baseline=beside, baseline_name="no deploys"
            )
            for name, value, beside in (
                ("median", p50(busy.milliseconds), p50(calm.milliseconds)),
                ("p99", busy.p99(), calm.p99()),
                ("longest", max(busy.milliseconds), max(calm.milliseconds)),
            )
        ],
    ]


async def _measure(node: Node) -> tuple[Seen, Seen]:
    calm, busy = Seen(), Seen()
    async with _Load(node, calm):
        await asyncio.sleep(CALM_SECONDS)
    async with _Load(node, busy):
        for version in range(1, DEPLOYS + 1):
            busy.changed.clear()
            await asyncio.to_thread(_deploy, node, version)
            while busy.version != b"%04d" % version:
                await busy.changed.wait()
                busy.changed.clear()
    return calm, busy


class _Load:
    """Visitors that ask at fixed times, whether they were answered or not; a late answer counts as late."""

    def __init__(self, node: Node, seen: Seen) -> None:
        host, _, port = node.server.url.removeprefix("http://").partition(":")
        self._address = (host, int(port))
        self._seen = seen
        self._over = False

    async def __aenter__(self) -> None:
        began = time.perf_counter() + 0.5
        self._visitors = [
            asyncio.create_task(self._visit(began + number / RATE)) for number in range(CONNECTIONS)
        ]

    async def __aexit__(self, *_: object) -> None:
        self._over = True
        await asyncio.gather(*self._visitors)

    async def _visit(self, due: float) -> None:
        line = None
        while not self._over:
            await asyncio.sleep(due - time.perf_counter())
            try:
                line = line or await asyncio.open_connection(*self._address)
                head, body = await _ask(*line)
            except (OSError, asyncio.IncompleteReadError) as error:
                self._seen.failures.append(repr(error))
                line = None
            else:
                if head.startswith(b"HTTP/1.1 200 "):
                    self._seen.answer(body, due)
                else:
                    self._seen.failures.append(f"{head!r} {body!r}")
                if b"connection: close" in head.lower():
                    line[1].close()
                    line = None
            due += CONNECTIONS / RATE
        if line is not None:
            line[1].close()


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[bytes, bytes]:
    writer.write(ASKS)
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.partition(b":")[2])
        for line in head.lower().split(b"\r\n")
        if line.startswith(b"content-length:")
    )
    return head, await reader.readexactly(length)


def _deploy(node: Node, version: int) -> None:
    folder: Path = node.folder / "project"
    folder.mkdir(exist_ok=True)
    (folder / "app.py").write_text(APP.replace("VERSION", f"{version:04d}"))
    (folder / "kedge.toml").write_text(TOML)
    environment = {"KEDGE_URL": node.server.url, "KEDGE_TOKEN": node.server.token, "KEDGE_WORKER": WORKER}
    subprocess.run(
        [sys.executable, "-m", "kedge", "deploy", "."],
        cwd=folder,
        env=os.environ | environment,
        check=True,
        capture_output=True,
    )
