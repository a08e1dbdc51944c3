"""How far back ends are from this location."""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections import OrderedDict, deque
from contextlib import suppress
from functools import cache
from statistics import median
from typing import TYPE_CHECKING

import structlog

from kedge.errors import KedgeError
from kedge.workers.egress.ledger import Speech

if TYPE_CHECKING:
    from kedge.workers.egress.targets import Targets

log = structlog.get_logger("prober")

#: targets that are remembered; the one that was wanted longest ago goes first
MOST_TARGETS = 256
#: measurements of a target that count
KEPT = 7
#: probes at once, of all targets
AT_ONCE = 4
PATIENCE = 5.0
#: a new target is measured a few times soon, then now and then
EAGER, EAGER_SECONDS, CALM_SECONDS = 5, 0.2, 30.0
LONGEST_SECONDS = 600.0
#: what reading raises where the answer ends early, or its head does not end
NO_HEAD = (asyncio.IncompleteReadError, asyncio.LimitOverrunError)
HEAD = b"HEAD / HTTP/1.1\r\nHost: %b\r\nUser-Agent: kedge-prober\r\n\r\n"


class _Target:
    def __init__(self, speech: Speech) -> None:
        self.speech = speech
        self.found: deque[float] = deque(maxlen=KEPT)
        self.probes = 0
        self.failures = 0
        self.due = time.monotonic()


class Prober:
    """Measures round-trip times: of `HEAD`, of a TLS handshake, or of a bare TCP connect.

    The last may be answered by something nearer than the host, and so is the last resort.
    """

    def __init__(self, targets: Targets) -> None:
        """Nothing is wanted yet."""
        self._resolver = targets
        self._targets: OrderedDict[str, _Target] = OrderedDict()
        self._changed = asyncio.Event()
        self._slots = asyncio.Semaphore(AT_ONCE)

    def want(self, label: str, speech: Speech) -> None:
        """Measure `HOST:PORT` from now on."""
        target = self._targets.get(label)
        if target is None:
            target = self._targets[label] = _Target(speech)
            self._changed.set()
            if len(self._targets) > MOST_TARGETS:
                self._targets.popitem(last=False)
        if target.speech is Speech.OTHER:
            target.speech = speech
        self._targets.move_to_end(label)

    def wanted(self) -> dict[str, Speech]:
        """Every target, and what is spoken there."""
        return {label: target.speech for label, target in self._targets.items()}

    def results(self) -> dict[str, float]:
        """The median of the last few round-trip times to each target, in milliseconds."""
        return {label: median(target.found) for label, target in self._targets.items() if target.found}

    async def run(self) -> None:
        """Measure, for ever."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._changed.clear()
                now = time.monotonic()
                for label, target in list(self._targets.items()):
                    if target.due <= now:
                        target.due = now + LONGEST_SECONDS
                        group.create_task(self._probe(label, target))
                soonest = min((target.due for target in self._targets.values()), default=now + CALM_SECONDS)
                with suppress(TimeoutError):
                    async with asyncio.timeout(max(soonest - time.monotonic(), 0.01)):
                        await self._changed.wait()

    async def _probe(self, label: str, target: _Target) -> None:
        async with self._slots:
            try:
                async with asyncio.timeout(PATIENCE):
                    target.found.append(await self._measure(label, target.speech))
                target.failures = 0
            except (OSError, KedgeError, ValueError, *NO_HEAD) as error:
                target.failures += 1
                log.debug("probe_failed", target=label, reason=str(error))
        target.probes += 1
        pause = EAGER_SECONDS if target.probes < EAGER else CALM_SECONDS * 2**target.failures
        target.due = time.monotonic() + min(pause, LONGEST_SECONDS) * random.uniform(0.8, 1.2)  # noqa: S311
        self._changed.set()

    async def _measure(self, label: str, speech: Speech) -> float:
        host, _, port = label.rpartition(":")
        address = await self._resolver.resolve(host.strip("[]"), int(port))
        at, _, number = address.rpartition(":")
        began = time.perf_counter()
        reader, writer = await asyncio.open_connection(at.strip("[]"), int(number))
        try:
            if speech is Speech.HTTP:
                return await _twice(reader, writer, host)
            if speech is Speech.TLS:
                await writer.start_tls(_anybody(), server_hostname=host)
                # one round trip for the connect, one for the handshake
                return (time.perf_counter() - began) * 1000 / 2
            return (time.perf_counter() - began) * 1000
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


@cache
def _anybody() -> ssl.SSLContext:
    """Nothing is told to whoever answers, so that it does not matter who it is."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def _twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> float:
    """The second question finds a connection that is warm, if it was kept open."""
    taken = await _head(reader, writer, host)
    with suppress(OSError, *NO_HEAD):
        taken = await _head(reader, writer, host)
    return taken


async def _head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> float:
    began = time.perf_counter()
    writer.write(HEAD % host.encode())
    await reader.readuntil(b"\r\n\r\n")
    return (time.perf_counter() - began) * 1000
