"""Asking a new instance whether it is up."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING

import httpx

from kedge.contracts.runtime import UNIX

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
HEADERS = {"user-agent": "kedge-probe", "x-forwarded-for": "127.0.0.1", "connection": "close"}


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
    async with _client(address) as client:
        while True:
            asked = time.monotonic() - started
            answer = await _probe(client, health, min(PATIENCE, max(patience - asked, LEAST)))
            if answer is None:
                return
            said.append(f"after {asked:.1f} s: {answer}")
            if time.monotonic() - started + pause > patience:
                raise NotUp(f"did not answer within {patience:g} s", list(said))
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, AT_MOST)


def _client(address: str) -> httpx.AsyncClient:
    path = address.removeprefix(UNIX) if address.startswith(UNIX) else None
    transport = httpx.AsyncHTTPTransport(uds=path, verify=False, trust_env=False)
    base_url = "http://localhost" if path else f"http://{address}"
    return httpx.AsyncClient(transport=transport, base_url=base_url, headers=HEADERS, trust_env=False)


async def _probe(client: httpx.AsyncClient, health: str | None, patience: float) -> str | None:
    """`None` if it is up, else what it did."""
    path = health or "/"
    try:
        # the headers are answer enough: a body may be endless
        async with asyncio.timeout(patience), client.stream("GET", path) as response:
            status = response.status_code
    except (httpx.HTTPError, TimeoutError) as error:
        return f"GET {path}: {_in_words(error)}"
    good = 200 <= status < 400 if health else status < 500
    return None if good else f"GET {path}: status {status}"


def _in_words(error: Exception) -> str:
    if isinstance(error, httpx.ConnectError):
        return "nobody listens there"
    return (
        "no answer" if isinstance(error, TimeoutError | httpx.TimeoutException) else str(error) or "no HTTP"
    )
