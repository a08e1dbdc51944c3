"""What placement learnt outlives a node, and other nodes can read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from sqlmodel import select

from kedge.config.settings import PeerSettings
from kedge.contracts.request_placement import BackEndCall
from kedge.db.queries.versions import find_worker
from kedge.db.tables import MeasuredWay
from kedge.db.tables import PlacementMemory as Row
from kedge.placement.cluster_key import ClusterKey
from kedge.placement.peers import Peers
from kedge.workers.egress.ledger import Ledger
from kedge.workers.egress.targets import Targets
from kedge.workers.places.exchange import Exchange
from kedge.workers.places.memory import PlacementMemory
from kedge.workers.places.placing import Place, Placing
from kedge.workers.places.prober import Prober
from kedge_smart import SmartPlacement, SmartSettings

if TYPE_CHECKING:
    from sqlmodel import Session

DATA = "data.test:5432"


@dataclass
class Node:
    placing: Placing
    memory: PlacementMemory
    exchange: Exchange
    policy: SmartPlacement

    def see(self) -> None:
        """All peers answer."""
        self.exchange.presence.there.update(self.placing._peers)
        self.placing._alive()

    def serve(self, worker: str) -> None:
        """Enough requests to decide."""
        calls = [[BackEndCall(host=DATA, duration_ms=251.0)]] * 3
        for _ in range(120):
            self.placing.served(worker, Place("sydney", None, False, "/"), 760.0, calls)
        self.policy.review(10.0)

    def location(self, worker: str) -> str:
        place = self.placing.choose(worker, {"mode": "smart"}, "/")
        assert place is not None
        return place.location


def node(platform: Any, here: str = "sydney") -> Node:
    peers = Peers({"f1": PeerSettings(url="http://127.0.0.1:1", location="frankfurt")})
    policy, prober = SmartPlacement(SmartSettings(baseline=0.0)), Prober(Targets())
    exchange = Exchange(here, peers, ClusterKey("a key"), prober, pause=1.0)
    placing = Placing(
        here, region=None, peers=peers, exchange=exchange, policy=policy, prober=prober, ledger=Ledger()
    )
    return Node(placing, PlacementMemory(platform.db, placing), exchange, policy)


@pytest.fixture
async def worker(platform: Any) -> str:
    return str((await platform.db.read(find_worker, platform.principal.account_id, "hello")).id)


async def learn(platform: Any, worker: str) -> None:
    """A node finds out where a worker's requests are answered fastest, keeps that, and is gone."""
    first = node(platform)
    first.see()
    for source, target, rtt in (
        ("sydney", "frankfurt", 250.0),
        ("sydney", DATA, 250.0),
        ("frankfurt", DATA, 1.0),
    ):
        first.placing.measured(source, target, rtt)
    first.placing.seen(worker, "v1")
    first.serve(worker)
    assert first.location(worker) == "frankfurt"
    await first.memory.keep()


async def test_a_node_that_starts_again_goes_on_where_it_was(platform: Any, worker: str) -> None:
    await learn(platform, worker)

    second = node(platform)
    await second.memory.open()
    # no peer was found yet: requests run here, and what was decided is not given up for that
    assert second.location(worker) == "sydney"
    second.policy.review(1.0)
    second.see()
    assert second.location(worker) == "frankfurt"
    second.placing.seen(worker, "v1")
    assert second.location(worker) == "frankfurt"


async def test_what_was_learnt_of_another_version_is_forgotten_for_good(platform: Any, worker: str) -> None:
    await learn(platform, worker)

    second = node(platform)
    await second.memory.open()
    second.see()
    second.placing.seen(worker, "v2")
    assert second.location(worker) == "sydney"
    await second.memory.keep()
    assert await platform.db.read(rows) == []


async def test_another_location_tells_what_was_decided_here(platform: Any, worker: str) -> None:
    await learn(platform, worker)

    [told] = await node(platform, here="dallas").memory.explain(worker)
    assert (told["entry"], told["location"], told["status"]) == ("sydney", "frankfurt", "SUCCESS")
    assert {one["location"] for one in told["candidates"]} == {"sydney", "frankfurt"}


async def test_a_row_that_cannot_be_read_is_passed_over(platform: Any, worker: str) -> None:
    await learn(platform, worker)
    await platform.db.write(spoil)

    second = node(platform)
    await second.memory.open()
    second.see()
    assert second.location(worker) == "sydney"


async def test_ways_from_this_location_are_kept_and_those_of_a_worker_that_is_gone_are_not(
    platform: Any, worker: str
) -> None:
    first = node(platform)
    first.see()
    first.placing.measured("sydney", "frankfurt", 250.0)
    first.placing.measured("frankfurt", DATA, 1.0)
    first.serve("no such worker")
    await first.memory.keep()

    assert await platform.db.read(rows) == []
    assert await platform.db.read(ways) == [("sydney", "frankfurt", 250.0)]


def rows(session: Session) -> list[Row]:
    return list(session.exec(select(Row)))


def ways(session: Session) -> list[tuple[str, str, float]]:
    return [(way.source, way.target, way.rtt_ms) for way in session.exec(select(MeasuredWay))]


def spoil(session: Session) -> None:
    for row in session.exec(select(Row)):
        row.state = {"another": "policy"}
        session.add(row)
