"""Engines and nodes that end, and what is left of builds then."""

from __future__ import annotations

import asyncio
import gc
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from tests.backends.docker.conftest import Lab
from tests.private_engine import PrivateEngine

from kedge import CapacityUnavailable, ComputeState, ExitCause
from kedge.testing.orders import Orders

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.docker_engine import Engine

    from kedge import ComputeRequest

#: the SDK leaves its sockets to an engine that dies to the garbage collector
leaves_sockets = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


@pytest.fixture
def private(engine: Engine) -> Iterator[PrivateEngine]:
    """An engine that a test may kill."""
    with PrivateEngine(engine) as private:
        private.copy(engine.stand_in)
        yield private
    # what the SDK leaves behind must not be found in another test
    gc.collect()


@pytest.fixture
async def fragile(private: PrivateEngine, engine: Engine, tmp_path: Path) -> AsyncIterator[Lab]:
    """A backend on that engine."""
    async with Orders(f"unix:{tmp_path}/kedge.sock") as orders:
        lab = Lab(tmp_path, orders, engine)
        yield lab
        await lab.close()


async def start_when_it_answers(lab: Lab, request: ComputeRequest) -> str:
    """What the scheduler does with a build that waits."""
    async with asyncio.timeout(60):
        while True:
            with suppress(CapacityUnavailable):
                return await lab.compute.start(request)
            await asyncio.sleep(0.1)


@leaves_sockets
async def test_an_engine_that_dies_ends_its_builds_and_work_resumes_when_it_is_back(
    fragile: Lab, private: PrivateEngine
) -> None:
    await fragile.open(engine=private.url, warm=1)
    compute_id, _ = await fragile.start(["wait"])

    await asyncio.to_thread(private.kill)
    waiting = fragile.request()
    with pytest.raises(CapacityUnavailable, match="does not answer"):
        await fragile.compute.start(waiting)
    # nobody can know what became of it
    assert (await fragile.compute.inspect(compute_id)).state is ComputeState.RUNNING
    await asyncio.to_thread(private.start)

    assert (await fragile.exits.of(compute_id)).state is ComputeState.EXITED
    await start_when_it_answers(fragile, waiting)
    (await fragile.orders.caller(waiting)).order(["exit", 0])
    assert await only_those_that_wait(fragile, private) == 1


async def only_those_that_wait(lab: Lab, private: PrivateEngine) -> int:
    """How many containers wait, once those that do are the ones that the pool knows."""
    client = private.client()
    async with asyncio.timeout(40):
        while True:
            found = await asyncio.to_thread(client.containers.list)
            left = {one.id for one in found if str(one.name).startswith("kedge-warm-")}
            if left and left == lab.pool.ids:
                client.close()
                return len(left)


@leaves_sockets
async def test_a_stop_outlasts_an_engine_that_is_gone(fragile: Lab, private: PrivateEngine) -> None:
    await fragile.open(engine=private.url)
    compute_id, _ = await fragile.start(["ignore"])
    await asyncio.to_thread(private.kill)

    stop = asyncio.create_task(fragile.compute.stop(compute_id, grace=0))
    await asyncio.wait([stop], timeout=0.5)
    assert not stop.done()
    await asyncio.to_thread(private.start)

    async with asyncio.timeout(60):
        await stop
    assert (await fragile.exits.of(compute_id)).cause is ExitCause.STOPPED


@leaves_sockets
async def test_a_node_that_starts_before_its_engine_adopts_later(
    fragile: Lab, private: PrivateEngine
) -> None:
    compute = await fragile.open(engine=private.url)
    compute_id, _ = await fragile.start(["exit", 3])
    await fragile.exits.of(compute_id)
    await compute.close()
    await asyncio.to_thread(private.kill)

    after = await fragile.open(engine=private.url)
    with pytest.raises(CapacityUnavailable):
        await after.list()
    await asyncio.to_thread(private.start)

    ended = await fragile.exits.of(compute_id)
    assert (ended.exit_code, ended.cause) == (3, ExitCause.SELF)
    assert [status.compute_id for status in await after.list()] == [compute_id]


async def test_a_container_that_someone_removes_is_told_as_lost(lab: Lab) -> None:
    await lab.open()
    compute_id, _ = await lab.start(["wait"])

    lab.container(compute_id).remove(force=True)

    ended = await lab.exits.of(compute_id)
    assert ended.cause is ExitCause.INFRASTRUCTURE


async def test_a_container_that_was_made_and_never_started_is_removed(lab: Lab) -> None:
    compute = await lab.open()
    owner = (lab.folder / "docker" / "owner").read_text().strip()
    await compute.close()
    request = lab.request()
    name = f"kedge-{request.build_uuid}-1"
    labels = {"kedge.owner": owner}
    lab.engine.client.containers.create(lab.engine.stand_in, "true", name=name, labels=labels)

    await lab.open()

    assert lab.containers() == []
    await lab.compute.start(request)
    await lab.orders.caller(request)


async def test_an_attempt_whose_kedge_died_before_its_job_was_given_says_so(lab: Lab) -> None:
    compute = await lab.open(warm=1)
    (waiting,) = await lab.waiting()
    request = lab.request()
    waiting.rename(f"kedge-{request.build_uuid}-1")
    lab.pool._ready.popleft().channel.close()
    await asyncio.to_thread(waiting.wait)
    await compute.close()

    await lab.open()

    (status,) = await lab.compute.list()
    assert (status.build_uuid, status.state) == (request.build_uuid, ComputeState.EXITED)
    assert (status.cause, status.exit_code) != (ExitCause.SELF, 0)


async def test_two_kedges_on_one_engine_leave_each_other_alone(
    lab: Lab, engine: Engine, tmp_path: Path
) -> None:
    await lab.open(warm=1)
    (mine,) = await lab.waiting()
    compute_id, _ = await lab.start(["wait"])
    other = Lab(tmp_path / "other", lab.orders, engine)
    await other.open(warm=0)

    assert await other.compute.list() == []
    await other.compute.stop(compute_id, grace=0)
    await other.close()

    assert {container.id for container in lab.containers()} == {mine.id, compute_id}
    assert (await lab.compute.inspect(compute_id)).state is ComputeState.RUNNING
