"""Asking a new instance whether it is up."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING

from kedge.contracts.runtime import UNIX
from kedge.workers.relay.connect import connect
from kedge.workers.relay.upstream import Upstream, UpstreamClosed

if TYPE_CHECKING:
    from kedge.contracts.runtime import Instance

#: seconds between two probes: at first, and at most
SOON, AT_MOST = 0.01, 0.25
#: of one probe
PATIENCE = 5.0
#: also when the time to start is nearly over: a probe that is cut short tells nothing
LEAST = 0.5
#: probes that are shown to somebody who asks why
KEPT = 5
#: programs behind a Unix socket know their visitor by a header alone
HEAD = (
    b"GET %b HTTP/1.1\r\nhost: %b\r\nuser-agent: kedge-probe\r\naccept: */*\r\n"
    b"x-forwarded-for: 127.0.0.1\r\nconnection: close\r\n\r\n"
)


class NotUp(Exception):
    """The instance does not answer. `probes` are what it did instead, the last at the end."""

    def __init__(self, reason: str, probes: list[str]) -> None:
        """`reason` is for a sentence that begins with the instance."""
        super().__init__(reason)
        self.reason = reason
        self.probes = probes


async def wait_until_up(instance: Instance, health: str | None, *, timeout: float) -> None:  # noqa: ASYNC109
    """Return once the instance answers as it should. Raises `NotUp` if it ends, or not within `timeout`.

    `health` is the path that must answer with 200 to 399; without one, `/` with anything below 500 will do.
    """
    probing = asyncio.create_task(_probe_until_up(instance.address, health, timeout))
    ended = asyncio.create_task(instance.exited())
    try:
        await asyncio.wait((probing, ended), return_when=asyncio.FIRST_COMPLETED)
        if not probing.done():
            raise NotUp(f"{ended.result()} before it answered", [])
        await probing
    finally:
        probing.cancel()
        ended.cancel()
        await asyncio.wait((probing, ended))


async def _probe_until_up(address: str, health: str | None, patience: float) -> None:
    started = time.monotonic()
    said: deque[str] = deque(maxlen=KEPT)
    pause = SOON
    while True:
        asked = time.monotonic() - started
        answer = await _probe(address, health, min(PATIENCE, max(patience - asked, LEAST)))
        if answer is None:
            return
        said.append(f"after {asked:.1f} s: {answer}")
        if time.monotonic() - started + pause > patience:
            raise NotUp(f"did not answer within {patience:g} s", list(said))
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, AT_MOST)


async def _probe(address: str, health: str | None, patience: float) -> str | None:
    """`None` if it is up, else what it did."""
    path = health or "/"
    try:
        async with asyncio.timeout(patience):
            status = await _status(address, path)
    except (OSError, UpstreamClosed) as error:
        return f"GET {path}: {_in_words(error)}"
    good = 200 <= status < 400 if health else status < 500
    return None if good else f"GET {path}: status {status}"


async def _status(address: str, path: str) -> int:
    """What it answers. The head is answer enough: a body may be endless."""
    host = "localhost" if address.startswith(UNIX) else address
    upstream = await connect(Upstream, address)
    try:
        upstream.send_head(HEAD % (path.encode(), host.encode()), bodiless=False)
        return (await upstream.answer()).status
    finally:
        upstream.close()


def _in_words(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError | FileNotFoundError):
        return "nobody listens there"
    return "no answer" if isinstance(error, TimeoutError) else str(error)
