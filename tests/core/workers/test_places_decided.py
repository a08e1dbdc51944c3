"""What is decided from what real probes, exchanges and proxied calls tell, and from lies."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from tests.core.workers.test_egress import back_end, client, egress
from tests.core.workers.test_places import KEY, Node, listening, running, until

from kedge.config.settings import PeerSettings
from kedge.contracts.request_placement import BackEndCall
from kedge.placement.peers import Peers
from kedge.testing.delay_proxy import DelayProxy
from kedge.workers.egress.ledger import Ledger, Speech
from kedge.workers.places.exchange import Exchange
from kedge.workers.places.placing import Placing
from kedge_smart import SmartPlacement, SmartSettings

if TYPE_CHECKING:
    from kedge.contracts.request_placement import PlacementExplanation

DATA, CDN, SENTRY, LEGACY = "data.test:80", "cdn.test:80", "o1.ingest.sentry.io:80", "old.corp.test:80"
#: one way to what is far, in seconds
FAR = 0.012
SMART = {"mode": "smart"}


def placing_of(node: Node, address: str, ledger: Ledger, policy: SmartPlacement) -> tuple[Placing, Exchange]:
    peers = Peers({"f1": PeerSettings(url=f"http://{address}", location="frankfurt")})
    exchange = Exchange("sydney", peers, KEY, node.prober, pause=0.05)
    placing = Placing(
        "sydney",
        region=None,
        peers=peers,
        exchange=exchange,
        policy=policy,
        prober=node.prober,
        ledger=ledger,
    )
    return placing, exchange


async def test_what_is_near_everywhere_what_takes_logs_and_what_is_excluded_moves_nothing() -> None:
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(back_end())
        far = (await stack.enter_async_context(DelayProxy(address, delay=FAR))).address
        from_sydney = {DATA: far, SENTRY: far, LEGACY: far, CDN: address}
        sydney, frankfurt = Node(from_sydney), Node(dict.fromkeys(from_sydney, address))
        proxy = await stack.enter_async_context(egress(from_sydney))
        asking = await stack.enter_async_context(client(proxy))
        peer = await stack.enter_async_context(listening(frankfurt))
        policy = SmartPlacement(SmartSettings(min_invocations=10, exclude=("*.corp.test",)))
        placing, exchange = placing_of(sydney, peer, proxy.ledger, policy)
        stack.callback(exchange.close)
        await stack.enter_async_context(running(placing.run(), frankfurt.prober.run()))

        async def invoke(worker: str, *hosts: str) -> None:
            place = placing.choose(worker, SMART, "/")
            assert place is not None
            invocation, began = proxy.ledger.begin("i1"), asyncio.get_running_loop().time()
            for host in hosts:
                await asking.get(f"http://{host.removesuffix(':80')}/")
            calls = invocation.groups()
            invocation.end()
            took = (asyncio.get_running_loop().time() - began) * 1000
            # it ran here whatever was chosen: what is tried is what was decided
            here = placing._place("sydney", place.route, placed=False)
            placing.served(worker, here, took, calls)

        def known(worker: str) -> PlacementExplanation:
            return next(iter(placing.explain(worker)))

        async with asyncio.timeout(60):
            for _ in range(12):
                await invoke("useless", SENTRY, CDN, LEGACY, SENTRY, LEGACY)
                await invoke("useful", DATA, DATA, DATA)
            await until(lambda: known("useful").location == "frankfurt")
            await until(lambda: len(known("useless").excluded) == 3)

        found = known("useless")
        assert found.location == "sydney"
        assert found.rounds == {}
        assert found.excluded[SENTRY] == "an analytics or logging service"
        assert found.excluded[LEGACY] == "excluded by configuration"
        assert found.excluded[CDN].startswith("as near to every location")
        assert known("useful").excluded == {}


class Liar(Node):
    """Claims to be next to everything."""

    told = 0

    def __init__(self) -> None:
        super().__init__({})
        self.prober.results = self._lies  # type: ignore[method-assign]

    def _lies(self) -> dict[str, float]:
        self.told += 1
        return {DATA: 0.0}


async def test_a_location_that_claims_to_be_next_to_everything_is_found_out_by_its_calls() -> None:
    async with AsyncExitStack() as stack:
        data = await stack.enter_async_context(back_end())
        far = (await stack.enter_async_context(DelayProxy(data, delay=FAR))).address
        sydney, liar = Node({DATA: far}), Liar()
        peer = await stack.enter_async_context(listening(liar))
        sydney.prober.want(DATA, Speech.HTTP)
        policy = SmartPlacement(SmartSettings())
        placing, exchange = placing_of(sydney, peer, Ledger(), policy)
        stack.callback(exchange.close)
        await stack.enter_async_context(
            running(exchange.run(measured=placing.measured, changed=placing._alive), sydney.prober.run())
        )
        there: list[bool] = []
        now = 0.0

        async def round_of_requests() -> str:
            nonlocal now
            for _ in range(40):
                place = placing.choose("w", SMART, "/")
                assert place is not None
                there.append(place.location == "frankfurt")
                call = 90.0 if there[-1] else 2000 * FAR + 1
                calls: Any = [[BackEndCall(host=DATA, duration_ms=call)]] * 3
                placing.served("w", place, 3 * call + 5.0, calls)
            before, now = liar.told, now + 120.0
            # what calls contradict counts from the next measurement on
            await until(lambda: liar.told > before + 1)
            for target, ms in sydney.prober.results().items():
                policy.measured("sydney", target, ms)
            policy.review(now)
            (found,) = placing.explain("w")
            return found.location

        async with asyncio.timeout(60):
            await until(lambda: bool(exchange.presence.there))
            while await round_of_requests() != "frankfurt":
                pass
            rounds = 1
            while await round_of_requests() != "sydney":
                rounds += 1
            after = [await round_of_requests() for _ in range(20)]

        # it leaves as soon as it may move again, for good
        assert rounds <= 10
        assert after.count("frankfurt") == 0
        assert sum(there[-20 * 40 :]) == 0
