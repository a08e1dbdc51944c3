"""The short way to a running worker, with a real gateway, real instances and real sockets."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from tests.core.workers.conftest import Ears, Site, serve
from tests.core.workers.relay.conftest import Program

from kedge.config.settings import RuntimeSettings
from kedge.contracts.runtime import InstanceKind
from kedge.db.queries.deployments import Serving
from kedge.workers.egress.ledger import Ledger
from kedge.workers.gateway import Gateway
from kedge.workers.instances import Instances
from kedge.workers.means import Means
from kedge.workers.places.places import Places
from kedge.workers.places.placing import Placing
from kedge.workers.relay.relay import Bounds, Relay
from kedge.workers.runnable import Runnable
from kedge.workers.sites import Site as ServedSite
from kedge.workers.sites import Split
from kedge.workers.visitors import Visitors
from kedge_smart.placement import SmartPlacement
from kedge_smart.settings import SmartSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from tests.core.workers.relay.conftest import Talk

    from kedge import ChosenLocation
    from kedge.workers.places.placing import Place

HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


class Instance:
    """The program as an instance."""

    instance_id = "one"

    def __init__(self, program: Program) -> None:
        self.program = program
        self.address = program.address
        self.ended = asyncio.Event()

    async def exited(self) -> Any:
        await self.ended.wait()
        return SimpleNamespace(cause="stopped")

    async def stop(self, *, grace: float) -> None:
        self.ended.set()


class Known:
    """Sites that need no database."""

    def __init__(self, wish: Mapping[str, Any]) -> None:
        serving = Serving(
            account_id="a",
            account="default",
            worker_id="w",
            worker="hello",
            version_id="v",
            digest="d",
            kind="command",
            percentage=100,
        )
        self.split = Split((ServedSite(serving, None, wish),))

    def at_hand(self, name: str) -> Split | None:
        return self.split if name == "hello" else None

    async def find(self, name: str) -> Split | None:
        return self.at_hand(name)


class House:
    """A gateway with one worker that runs."""

    def __init__(self, wish: Mapping[str, Any], program: Program, ears: Ears) -> None:
        self.program = program
        self.ears = ears
        settings = RuntimeSettings(concurrency=4, idle_timeout=60, max_instances=1, wait_until=60)
        self.starter = Instance(program)
        self.instances = Instances(self, self._load, settings)  # type: ignore[arg-type]
        self.ledger = Ledger()
        placing = Placing(
            "here",
            region=None,
            peers={},
            exchange=None,
            policy=None,
            prober=SimpleNamespace(want=lambda *_: None),  # type: ignore[arg-type]
            ledger=self.ledger,
        )
        self.placing = placing
        places = Places(
            placing=placing,
            memory=None,  # type: ignore[arg-type]
            prober=None,  # type: ignore[arg-type]
            ledger=self.ledger,
            egress=None,
            key=None,
            exchange=None,
            forwarding=None,
        )
        self.relay = Relay(Bounds())
        means = Means(
            instances=self.instances,
            relay=self.relay,
            places=places,
            visitors=Visitors(),
            longest_wait_until=60.0,
        )
        self.gateway = Gateway(
            None,  # type: ignore[arg-type]
            None,  # type: ignore[arg-type]
            "localhost",
            registry=self.ears,
            means=means,
        )
        self.gateway._sites = Known(wish)  # type: ignore[assignment]
        self.short = 0

    async def start(self, _: Runnable) -> Instance:
        return self.starter

    def note(self, *_: object) -> None:
        """Nobody reads it."""

    def tail(self, _: object) -> str:
        return ""

    async def _load(self, version_id: str) -> Runnable:
        return Runnable(
            account_id="a",
            worker_id="w",
            worker="hello",
            version_id=version_id,
            kind=InstanceKind.COMMAND,
            entry=("serve",),
        )

    def at_once(self, request: Any) -> Any:
        passage = self.gateway.at_once(request)
        self.short += passage is not None
        return passage

    @property
    def in_flight(self) -> int:
        state = self.instances.state("v")
        return 0 if state is None else state.in_flight


@pytest.fixture
async def program() -> AsyncIterator[Program]:
    made = Program()
    await made.listen()
    yield made
    await made.close()


@pytest.fixture
def wish() -> Mapping[str, Any]:
    """Where the worker shall run; nowhere in particular."""
    return {}


@pytest.fixture
def ears() -> Ears:
    """Whoever hears of requests: nobody listens."""
    return Ears()


@pytest.fixture
async def house(
    wish: Mapping[str, Any], program: Program, ears: Ears, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[House]:
    monkeypatch.setattr("kedge.workers.relay.pool.IDLE_SECONDS", 600.0)
    program.answers(HELLO)
    made = House(wish, program, ears)
    yield made
    await made.instances.close()
    made.relay.close()


@pytest.fixture
async def site(house: House) -> AsyncIterator[Site]:
    async with serve(house.gateway, shortcut=house.at_once) as made:
        yield made


async def test_the_first_request_goes_the_long_way_and_those_after_it_the_short_one(
    house: House, site: Site
) -> None:
    answers = [await site.ask("/x?y=z", accept="text/plain") for _ in range(3)]

    assert [(answer.status, answer.body) for answer in answers] == [(200, b"hello")] * 3
    assert house.short == 2
    assert house.in_flight == 0
    ids = {answer.headers["x-request-id"] for answer in answers}
    assert len(ids) == 3


async def test_an_instance_is_told_the_same_on_both_ways(house: House, site: Site) -> None:
    said = {"x_forwarded_for": "6.6.6.6", "kedge_forward": "lies", "te": "trailers", "x_request_id": "mine"}
    said |= {"cf_connecting_ip": "6.6.6.6", "cf_ray": "6.6.6.6"}
    answers = [await site.ask("/x", x_mine="1", **said) for _ in range(2)]

    long, short = (
        asked.replace(answer.headers["x-request-id"].encode(), b"ID")
        for asked, answer in zip(house.program.heard, answers, strict=True)
    )
    assert house.short == 1
    assert short == long
    assert b"lies" not in short
    assert b"6.6.6.6" not in short


async def test_an_instance_may_go_on_after_its_answer(house: House, site: Site) -> None:
    waiting = HELLO.replace(b"\r\n\r\n", b"\r\nKedge-Wait-Until: 30\r\n\r\n")
    house.program.answers(HELLO, waiting)
    await site.ask("/")
    answer = await site.ask("/")

    assert house.short == 1
    assert "kedge-wait-until" not in answer.headers
    assert house.in_flight == 1


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_request_for_an_instance_that_has_gone_waits_for_the_next(
    house: House, site: Site, method: str
) -> None:
    """The node does not know yet that it has: the connection is refused."""
    await site.ask("/")
    gone, house.starter = house.starter, Instance(house.program)
    house.relay.forget(gone.address)
    gone.address = "unix:/nowhere/at/all"

    answer = await site.ask("/", method=method)

    assert (answer.status, answer.body) == (200, b"hello")
    assert house.in_flight == 0


@pytest.mark.parametrize(("method", "status"), [("GET", 200), ("POST", 502)])
async def test_what_does_no_harm_twice_is_asked_of_the_next_when_an_instance_dies(
    house: House, site: Site, method: str, status: int
) -> None:
    """What it was asked for with its last connections is not answered, and only then is its end heard of."""
    await site.ask("/")
    dying, house.starter = house.starter, Instance(house.program)
    broken: list[bytes] = []

    async def say(talk: Talk) -> None:
        while True:
            asked = await talk.hear()
            if not dying.ended.is_set():
                broken.append(asked)
                asyncio.get_running_loop().call_later(0.1, dying.ended.set)
                return
            talk.say(HELLO)

    house.program.say = say
    house.relay.forget(dying.address)

    assert (await site.ask("/", method=method)).status == status
    assert len(broken) == 1


class TestHeard:
    """Plugins listen."""

    @pytest.fixture
    def ears(self) -> Ears:
        return Ears(listening=True)

    async def test_plugins_hear_of_requests_on_the_short_way(self, house: House, site: Site) -> None:
        await site.ask("/")
        await site.ask("/caf%C3%A9?x=1", method="DELETE")
        await site.ask("/b")

        await house.ears.hears(3)
        assert house.short == 2
        seen = [(one.worker, one.method, one.path, one.status, one.bytes_sent) for one in house.ears.heard]
        assert seen[1:] == [("hello", "DELETE", "/café", 200, 5), ("hello", "GET", "/b", 200, 5)]


class TestSmart:
    """A worker that is run where it is fastest, by a policy that has nothing to decide yet."""

    @pytest.fixture
    def wish(self) -> Mapping[str, Any]:
        return {"mode": "smart"}

    @pytest.fixture
    def policy(self, house: House) -> SmartPlacement:
        made = SmartPlacement(SmartSettings())
        made.set_locations(["here"])
        house.placing._policy = made
        return made

    async def test_what_the_policy_says_for_all_requests_is_asked_once_until_it_may_have_changed(
        self, house: House, policy: SmartPlacement, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[str] = []

        def choose(worker: str, route: str, entry: str) -> ChosenLocation:
            asked.append(route)
            return SmartPlacement.choose(policy, worker, route, entry)

        monkeypatch.setattr(policy, "choose", choose)
        for path in ("/caf%C3%A9", "/caf%C3%A9?x=1", "/b", "/b", "/caf%C3%A9"):
            assert (await site.ask(path)).headers["cf-placement"] == "local-here"
        assert asked == ["/café", "/b"]

        house.placing._alive()
        await site.ask("/b")
        assert asked == ["/café", "/b", "/b"]

    async def test_calls_are_those_of_a_request_that_was_alone_though_most_are_not_measured(
        self, house: House, policy: SmartPlacement, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        told: list[int | None] = []
        stands_for = iter([1, 1, 0, 1, 1])
        monkeypatch.setattr(house.placing.sampling, "stands_for", lambda _: next(stands_for))
        monkeypatch.setattr(
            policy, "record", lambda served: told.append(sum(len(group) for group in served.calls))
        )
        arrived, go_on = asyncio.Semaphore(0), asyncio.Event()

        async def say(talk: Talk) -> None:
            while True:
                asked = await talk.hear()
                house.ledger.note("one", "a:1", time.monotonic())
                if b"/slow" in asked:
                    arrived.release()
                    await go_on.wait()
                talk.say(HELLO)

        house.program.say = say
        await site.ask("/")
        await site.ask("/")
        assert told == [1, 1]
        # one that is not measured is at work as well: what is asked meanwhile is nobody's
        slow = asyncio.create_task(site.ask("/slow"))
        await arrived.acquire()
        await site.ask("/")
        assert told == [1, 1]
        go_on.set()
        await slow
        await site.ask("/")
        assert told == [1, 1, 1]
        assert (house.ledger.works["one"].present, house.in_flight) == (0, 0)


class TestPlaced:
    """A worker whose author said where it shall run."""

    @pytest.fixture
    def wish(self) -> Mapping[str, Any]:
        return {"mode": "targeted", "region": "here"}

    async def test_what_runs_here_takes_the_short_way_and_is_measured(self, house: House, site: Site) -> None:
        chosen: list[Place | None] = []
        choose = house.placing.choose

        def choosing(*args: Any) -> Place | None:
            chosen.append(choose(*args))
            return chosen[-1]

        house.placing.choose = choosing  # type: ignore[method-assign,assignment]
        answers = [await site.ask("/") for _ in range(3)]

        assert house.short == 2
        assert {answer.headers["cf-placement"] for answer in answers} == {"local-here"}
        assert len(chosen) == 3
        assert house.placing.durations.show("w")[0]["requests"] == 3
