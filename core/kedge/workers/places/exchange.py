"""Nodes tell each other what they have measured, and thereby how far they are from each other."""

from __future__ import annotations

import asyncio
import time
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import orjson
import structlog

from kedge.errors import InvalidInput
from kedge.placement.cluster_key import FORWARD, MOMENT, Forwarded, Moments
from kedge.workers.egress.ledger import Speech
from kedge.workers.places.presence import PeerGone, Presence
from kedge.workers.relay.connect import TLS
from kedge.workers.relay.headers import find
from kedge.workers.relay.pool import Pool
from kedge.workers.relay.upstream import UpstreamClosed

if TYPE_CHECKING:
    from collections.abc import Callable

    from kedge.placement.cluster_key import ClusterKey
    from kedge.placement.peers import Peer, Peers
    from kedge.workers.places.prober import Prober
    from kedge.workers.relay.upstream import Answer

log = structlog.get_logger("peers")

PATH = b"/api/peers/exchange"
HEAD = b"POST %b HTTP/1.1\r\nhost: %b\r\n%b: %b\r\ncontent-length: %d\r\n\r\n"
#: by which a timer may be late before this node itself has slept
OVERSLEPT = 0.5
LARGEST_ANSWER = 256 * 1024
MOST_TARGETS = 256
#: round-trip times beyond are none
LONGEST_MS = 60_000.0
#: a peer that did not answer so often is not just starting
MANY_FAILURES = 3


class Exchange:
    """Asks each peer now and then; one that does not answer counts as gone until it does."""

    def __init__(
        self, here: str, peers: Peers, key: ClusterKey, prober: Prober, *, pause: float, silence: float = 3.0
    ) -> None:
        """`here` is this node's location; `pause` the seconds between two exchanges with one peer.

        A peer that says nothing for `silence` seconds is gone.
        """
        self._here = here
        self._peers = peers
        self._key = key
        self._prober = prober
        self._pause = pause
        self._silence = silence
        self._pool = Pool(peers.tls)
        self.presence = Presence()
        self.moments = Moments()

    async def run(self, *, measured: Callable[[str, str, float], None], changed: Callable[[], None]) -> None:
        """Ask, for ever. `measured(source, target, milliseconds)`; `changed` when a peer comes or goes."""
        asking: dict[Peer, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                for peer in [one for one in asking if self._peers.get(one.name) != one]:
                    asking.pop(peer).cancel()
                    if self.presence.gone(peer):
                        log.warning("peer_gone", peer=peer.name)
                        changed()
                for peer in self._peers.values():
                    if peer not in asking:
                        asking[peer] = group.create_task(self._keep_asking(peer, measured, changed))
                await self._peers.change()

    def close(self) -> None:
        """End the connections."""
        self._pool.close()

    async def _keep_asking(
        self, peer: Peer, measured: Callable[[str, str, float], None], changed: Callable[[], None]
    ) -> None:
        failures = 0
        while True:
            began = time.monotonic()
            try:
                async with asyncio.timeout(self._silence):
                    found, taken = await self._ask(peer)
            except (OSError, UpstreamClosed, ValueError, KeyError, TypeError) as error:
                if time.monotonic() - began > self._silence + OVERSLEPT:
                    # it was this node that did not listen: the answer may lie there
                    continue
                if self._missed(peer, error):
                    changed()
                failures += 1
                if failures == MANY_FAILURES:
                    log.warning("peer_silent", peer=peer.name, address=peer.address, reason=_reason(error))
            else:
                failures = 0
                if peer.location != self._here:
                    measured(self._here, peer.location, taken)
                for target, milliseconds in found.items():
                    measured(peer.location, target, milliseconds)
                if self.presence.found(peer):
                    log.info("peer_found", peer=peer.name, location=peer.location, ms=round(taken, 1))
                    changed()
            await asyncio.sleep(self._pause)

    def _missed(self, peer: Peer, error: Exception) -> bool:
        """A peer did not answer, or not as it should. Whether it was there before."""
        if isinstance(error, OSError | UpstreamClosed):
            self._pool.forget(peer.address)
            before = self.presence.gone(peer)
        else:
            # it lives, and may yet answer what it was asked
            before = self.presence.lost(peer)
        if before:
            log.warning("peer_lost", peer=peer.name, reason=_reason(error))
        return before

    async def ask_all(self, path: bytes, question: Any) -> dict[str, Any]:
        """What each peer answers to a question; `None` for one that does not answer in time."""
        body = orjson.dumps(question)
        peers = list(self._peers.values())
        answers = await asyncio.gather(*[self._ask_once(peer, path, body) for peer in peers])
        return {peer.name: answer for peer, answer in zip(peers, answers, strict=True)}

    async def ask_patiently(self, path: bytes, question: Any) -> dict[str, Any]:
        """The same, of a question that takes time: for as long as a peer is there. Only those that answer."""
        body = orjson.dumps(question)
        peers = [peer for peer in self._peers.values() if peer.name in self.presence.there]
        answers = await asyncio.gather(*[self._wait_for(peer, path, body) for peer in peers])
        known = zip(peers, answers, strict=True)
        return {peer.name: answer for peer, answer in known if answer is not None}

    async def _wait_for(self, peer: Peer, path: bytes, body: bytes) -> Any:
        try:
            async with self.presence.waiting_for(peer):
                return await self._answer(peer, path, body)
        except PeerGone:
            return None

    async def _ask_once(self, peer: Peer, path: bytes, body: bytes) -> Any:
        try:
            async with asyncio.timeout(self._silence):
                return await self._answer(peer, path, body)
        except TimeoutError:
            log.warning("peer_did_not_answer", peer=peer.name, path=path.decode(), reason="no answer in time")
            return None

    async def _answer(self, peer: Peer, path: bytes, body: bytes) -> Any:
        try:
            data, _ = await self._request(peer, path, body)
            return orjson.loads(data)
        except (OSError, UpstreamClosed, ValueError) as error:
            log.warning("peer_did_not_answer", peer=peer.name, path=path.decode(), reason=_reason(error))
            return None

    async def _ask(self, peer: Peer) -> tuple[dict[str, float], float]:
        wanted = self._prober.wanted()
        data, taken = await self._request(peer, PATH, orjson.dumps({"targets": wanted}))
        told = orjson.loads(data)
        # what was not asked for, or cannot be, counts for nothing
        given = {target: float(value) for target, value in dict(told["rtts"]).items() if target in wanted}
        found = {target: value for target, value in given.items() if 0 <= value <= LONGEST_MS}
        return found, max(taken - max(float(told["took_ms"]), 0.0), 0.01)

    async def _request(self, peer: Peer, path: bytes, body: bytes) -> tuple[bytes, float]:
        """A peer's answer, and after how many milliseconds it began.

        A peer that was never asked, or has started anew, first tells for which moment it has to be asked.
        """
        answer, data, taken = await self._say(peer, path, body)
        if answer.status == 401 and (moment := find(answer.headers, MOMENT)) is not None:
            self.moments.learn(peer.name, moment)
            answer, data, taken = await self._say(peer, path, body)
        if answer.status != 200:
            raise ValueError(f"it answered with status {answer.status}")
        return data, taken

    async def _say(self, peer: Peer, path: bytes, body: bytes) -> tuple[Answer, bytes, float]:
        host = peer.address.removeprefix(TLS).encode()
        said = Forwarded(entry=self._here, visitor="", scheme="exchange", request_id="")
        moment = self.moments.at(peer.name)
        signature = self._key.sign(said, "POST", host, signed_target(body, path), moment=moment)
        upstream = await self._pool.take(peer.address)
        began = time.perf_counter()
        try:
            upstream.send_head(HEAD % (path, host, FORWARD, signature, len(body)) + body, bodiless=False)
            answer = await upstream.answer()
            taken = (time.perf_counter() - began) * 1000
            data = b""
            while part := await upstream.next_part():
                data += part
                if len(data) > LARGEST_ANSWER:
                    raise ValueError("its answer is too large")
        finally:
            if upstream.over:
                self._pool.give_back(peer.address, upstream)
            else:
                upstream.close()
        return answer, data, taken


def _reason(error: Exception) -> str:
    return str(error) or "no answer in time"


def signed_target(body: bytes, path: bytes = PATH) -> bytes:
    """What the signature of a question is over, in the place of a path."""
    return path + b" " + sha256(body).hexdigest().encode()


def answer_exchange(prober: Prober, body: bytes, began: float) -> dict[str, Any]:
    """What a node answers: its round-trip times to what it is asked for. Raises `InvalidInput`."""
    try:
        targets = dict(orjson.loads(body)["targets"])
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInput("an exchange is JSON with `targets`") from error
    for label, speech in list(targets.items())[:MOST_TARGETS]:
        if speech in set(Speech):
            prober.want(str(label)[:300], Speech(speech))
    rtts = {label: found for label, found in prober.results().items() if label in targets}
    return {"rtts": rtts, "took_ms": (time.perf_counter() - began) * 1000}
