"""Containers that wait for a job."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from tests.docker_registry import forget

from kedge import CapacityUnavailable
from kedge_docker.containers import Containers
from kedge_docker.labels import WARM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.backends.docker.conftest import Lab

    from kedge_docker.container import Shape
    from kedge_docker.warm import Waiting


async def test_a_job_goes_to_the_container_that_waits_and_another_takes_its_place(lab: Lab) -> None:
    await lab.open(warm=1)
    (first,) = await lab.waiting()

    compute_id, runner = await lab.start(["wait"], trusted=True)

    assert compute_id == first.id
    name = f"kedge-{runner.hello['build_uuid']}-1"
    assert lab.container(compute_id).name == name
    (second,) = await lab.waiting()
    assert second.id != first.id


async def test_a_used_container_is_never_used_again(lab: Lab) -> None:
    await lab.open(warm=1)
    ids = set()
    for _ in range(4):
        await lab.waiting()
        compute_id, _ = await lab.start(["exit", 0], trusted=True)
        await lab.exits.of(compute_id)
        await lab.compute.forget(compute_id)
        ids.add(compute_id)

    assert len(ids) == 4
    left = {container.id for container in lab.containers()}
    assert not left & ids


async def test_code_from_outside_does_not_get_a_container_with_a_network(lab: Lab) -> None:
    await lab.open(warm=1)
    (waiting,) = await lab.waiting()

    compute_id, _ = await lab.start(["wait"], trusted=False)

    assert compute_id != waiting.id


async def test_one_that_ends_waiting_is_replaced_and_a_start_in_between_succeeds(lab: Lab) -> None:
    await lab.open(warm=1)
    (waiting,) = await lab.waiting()
    waiting.kill()
    await lab.forsaken(waiting)

    compute_id, _ = await lab.start(["wait"], trusted=True)

    assert compute_id != waiting.id
    (other,) = await lab.waiting()
    assert other.id not in {waiting.id, compute_id}


class Workshop:
    """Makes containers that wait when the test says so, or fails to."""

    def __init__(self) -> None:
        self.begun, self.go = asyncio.Event(), asyncio.Event()
        self.fault: Exception | None = None
        self._create = Containers.create

    async def create(self, containers: Containers, shape: Shape, name: Any, labels: Any) -> Any:
        if name is None:
            self.begun.set()
            await self.go.wait()
            if self.fault is not None:
                raise self.fault
        return await self._create(containers, shape, name, labels)

    async def claimed(self, lab: Lab) -> None:
        """Return once a start waits for the container that is being made: that takes turns of the loop."""
        for _ in range(20):
            await asyncio.sleep(0)
        assert lab.pool._claim is not None


@pytest.fixture
async def workshop(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    """At work on the one container of the lab's pool."""
    workshop = Workshop()
    # a bound method would not be told of whose containers
    monkeypatch.setattr(Containers, "create", lambda *args: workshop.create(*args))  # noqa: PLW0108
    await lab.open(warm=1)
    await workshop.begun.wait()
    return workshop


async def test_a_build_that_comes_while_a_container_is_made_gets_that_one_and_the_next_does_not_wait(
    lab: Lab, workshop: Workshop
) -> None:
    first = asyncio.create_task(lab.start(["wait"], trusted=True))
    await workshop.claimed(lab)

    second, _ = await lab.start(["wait"], trusted=True)

    assert not first.done()
    workshop.go.set()
    compute_id, _ = await first
    assert lab.container(compute_id).labels[WARM]
    assert WARM not in lab.container(second).labels
    (waiting,) = await lab.waiting()
    assert waiting.id != compute_id


async def test_a_build_that_waits_for_a_container_that_cannot_be_made_gets_one_of_its_own(
    lab: Lab, workshop: Workshop
) -> None:
    workshop.fault = CapacityUnavailable("the disk is full")
    start = asyncio.create_task(lab.start(["wait"], trusted=True))
    await workshop.claimed(lab)
    workshop.go.set()

    compute_id, _ = await start

    assert WARM not in lab.container(compute_id).labels


async def test_a_container_that_comes_as_its_build_is_cancelled_is_the_next_ones(
    lab: Lab, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = lab.pool
    hand_over = pool._hand_over

    def and_cancel(waiting: Waiting | None) -> bool:
        handed = hand_over(waiting)
        if handed:
            take.cancel()
        return handed

    monkeypatch.setattr(pool, "_hand_over", and_cancel)
    take = asyncio.create_task(pool.take(pool._shape))
    await workshop.claimed(lab)
    workshop.go.set()
    with pytest.raises(asyncio.CancelledError):
        await take

    (container,) = await lab.waiting()

    assert (await lab.start(["wait"], trusted=True))[0] == container.id


@pytest.fixture
def name(lab: Lab) -> Iterator[str]:
    """A name for the image of builds, which may come to mean another."""
    name = f"kedge-testing-renewed-{uuid4().hex}:1"
    lab.engine.client.images.get(lab.engine.stand_in).tag(name)
    yield name
    for container in lab.containers():
        container.remove(v=True, force=True)
    forget(lab.engine.client, name)


async def test_a_build_gets_no_container_of_an_image_that_has_been_renewed(lab: Lab, name: str) -> None:
    await lab.open(image=name, warm=1)
    (old,) = await lab.waiting()
    renewed = renew(lab, name)

    compute_id, _ = await lab.start(["wait"], trusted=True)

    assert lab.container(compute_id).attrs["Image"] == renewed
    await lab.engine.when(lambda: old.id not in {container.id for container in lab.containers()})
    (fresh,) = await lab.waiting()
    assert fresh.attrs["Image"] == renewed
    await lab.compute.close()
    await lab.open()


def renew(lab: Lab, name: str) -> str:
    """Have a name mean a new image, which is like the old one; returns its id."""
    repository, _, tag = name.partition(":")
    api = lab.engine.client.api
    made = api.create_container(name, "true")["Id"]
    image: str = api.commit(made, repository, tag, changes="LABEL renewed=1")["Id"]
    api.remove_container(made)
    return image


async def test_what_waits_ends_with_its_kedge(lab: Lab) -> None:
    await lab.open(warm=2)
    await lab.waiting(2)

    await lab.compute.close()

    assert lab.containers() == []
    await lab.open()


async def test_what_a_killed_kedge_left_waiting_is_removed(lab: Lab) -> None:
    await lab.open(warm=1)
    (left,) = await lab.waiting()
    killed = lab.compute
    lab.pool._closed = True  # a killed one fills no pool
    await lab.exits.close()

    await lab.open(warm=1)

    assert left.id not in {container.id for container in lab.containers()}
    (fresh,) = await lab.waiting()
    assert fresh.id != left.id
    await killed.close()
