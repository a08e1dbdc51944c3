"""A deployment serves once its instances answer, whoever has begun it; until then nothing changes."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from tests.core.workers.conftest import pieces

from kedge.config.settings import RuntimeSettings
from kedge.contracts.runtime import InstanceKind
from kedge.db.queries.deployments import by_uuid, take_up
from kedge.db.queries.versions import find_worker
from kedge.db.queries.workers import delete_worker
from kedge.errors import InvalidInput
from kedge.testing.fake_host import FakeHost
from kedge.testing.fake_runtime import FakeRuntime, FakeRuntimeSettings
from kedge.workers.completion import Completed, Wish
from kedge.workers.deployments import Deployments, Share
from kedge.workers.egress.ledger import Ledger
from kedge.workers.instances import Instances
from kedge.workers.manifest import File, Manifest
from kedge.workers.places.places import Places
from kedge.workers.retirement import Retirement
from kedge.workers.rollouts import Rollouts
from kedge.workers.run_spec import RunSpec
from kedge.workers.runnable import Runnable
from kedge.workers.starter import InstanceStarter
from kedge.workers.version_files import VersionFiles
from kedge.workers.versions import NewVersion
from kedge.workers.warm_up import WarmUp
from kedge.workers.worker_logs import WorkerLogs
from kedge_disk.log_store import DiskLogs, DiskLogSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PATIENCE = 60.0


class Node:
    """What runs workers on one node of a platform."""

    def __init__(self, platform: Any, worker_id: str, runtime: FakeRuntime, starter: InstanceStarter) -> None:
        self.platform = platform
        self.worker_id = worker_id
        self.runtime = runtime
        self.instances = Instances(starter, self.load, RuntimeSettings())
        self.warm_up = WarmUp(platform.db, self.instances)
        self.rollouts = Rollouts(platform.db, platform.deployments, self.instances, warm_up=self.warm_up)
        self.retirement = Retirement(platform.db, self.instances)

    async def load(self, version_id: str) -> Runnable:
        return Runnable(
            account_id=self.platform.principal.account_id,
            worker_id=self.worker_id,
            worker="hello",
            version_id=version_id,
            kind=InstanceKind.COMMAND,
            entry=("serve",),
        )

    async def upload(self, content: bytes, *, deploy: bool = True) -> Completed:
        digest = sha256(content).hexdigest()
        files = {"server": File(digest, len(content))}
        manifest = Manifest(files, kind="command", run=RunSpec(entry=("serve",)))
        versions, principal = self.platform.versions, self.platform.principal
        begun = await versions.begin(principal, "hello", NewVersion(manifest=manifest))
        if begun.missing:
            await versions.put_file(principal, "hello", begun.upload_id, digest, pieces(content))
        wish = Wish(deploy=deploy, alias=None, urls=self.platform.urls)
        completed: Completed = await versions.complete(principal, "hello", begun.upload_id, wish)
        return completed

    async def state(self, uuid: str | None) -> str:
        deployment = await self.rollouts.outcome(str(uuid), patience=PATIENCE)
        assert deployment is not None
        return deployment.state

    async def ended(self) -> None:
        """Wait until no deployment is looked after."""
        while self.rollouts._running:
            await asyncio.wait(self.rollouts._running.values())

    async def serving(self) -> str | None:
        found = await self.platform.deployments.current(self.platform.principal.account_id, "hello")
        return None if found is None else str(found.versions[0]["version_id"])


@pytest.fixture
async def node(platform: Any, tmp_path: Path) -> AsyncIterator[Node]:
    host = FakeHost(tmp_path)
    runtime, store = FakeRuntime(FakeRuntimeSettings(), host), DiskLogs(DiskLogSettings(), host)
    await store.open()
    await runtime.open()
    nobody: Any = None
    logs = WorkerLogs(store, platform.db, "test")
    starter = InstanceStarter(
        runtime,
        VersionFiles(tmp_path / "files", platform.blobs),
        logs,
        RuntimeSettings(start_timeout=PATIENCE),
        location="here",
        places=Places(
            placing=nobody,
            memory=nobody,
            prober=nobody,
            ledger=Ledger(),
            egress=None,
            key=None,
            exchange=None,
            forwarding=None,
        ),
        server_root=tmp_path / "servers",
    )
    worker = await platform.db.read(find_worker, platform.principal.account_id, "hello")
    node = Node(platform, worker.id, runtime, starter)
    yield node
    await node.rollouts.close()
    await node.instances.close()
    await runtime.close()
    await starter.close()
    await logs.close()
    await store.close()


async def test_what_serves_goes_on_until_the_new_version_answers(node: Node) -> None:
    first = await node.upload(b"one")
    assert await node.state(first.deployment_id) == "active"
    node.runtime.hold.clear()
    second = await node.upload(b"two")
    assert await node.serving() == first.version_id
    assert not node.runtime.started[0].end.done()
    node.runtime.hold.set()
    assert await node.state(second.deployment_id) == "active"
    assert await node.serving() == second.version_id
    # what served before is left once it has nothing more to do
    await node.runtime.started[0].exited()


async def test_hooks_hear_of_a_deployment_when_it_serves_and_not_before(node: Node) -> None:
    node.runtime.hold.clear()
    made = await node.upload(b"one")
    assert node.platform.events == []
    node.runtime.hold.set()
    assert await node.state(made.deployment_id) == "active"
    assert [event.version_id for event in node.platform.events] == [made.version_id]


async def test_a_version_that_does_not_start_changes_nothing_and_tells_why(node: Node) -> None:
    first = await node.upload(b"one")
    assert await node.state(first.deployment_id) == "active"
    node.runtime.exits_with = 1
    second = await node.upload(b"two")
    failed = await node.rollouts.outcome(str(second.deployment_id), patience=PATIENCE)
    assert failed is not None
    assert failed.state == "failed"
    assert "exited with code 1 before it answered" in failed.failure["reason"]
    assert "as it was told" in failed.failure["tail"]
    assert await node.serving() == first.version_id
    assert not node.runtime.started[0].end.done()


async def test_a_rollback_goes_past_what_failed(node: Node) -> None:
    first = await node.upload(b"one")
    assert await node.state(first.deployment_id) == "active"
    second = await node.upload(b"two")
    assert await node.state(second.deployment_id) == "active"
    node.runtime.exits_with = 1
    third = await node.upload(b"three")
    assert await node.state(third.deployment_id) == "failed"
    node.runtime.exits_with = None
    platform = node.platform
    back = await platform.deployments.rollback(platform.principal, "hello", urls=platform.urls)
    assert await node.state(back.uuid) == "active"
    assert await node.serving() == first.version_id


async def test_of_two_that_start_at_once_the_later_one_serves(node: Node) -> None:
    node.runtime.hold.clear()
    first, second = await node.upload(b"one"), await node.upload(b"two")
    node.runtime.hold.set()
    assert await node.state(first.deployment_id) == "active"
    assert await node.state(second.deployment_id) == "active"
    assert await node.serving() == second.version_id


async def test_one_that_is_overtaken_by_a_way_back_ends_nothing_that_serves(node: Node) -> None:
    first = await node.upload(b"one")
    assert await node.state(first.deployment_id) == "active"
    node.runtime.hold.clear()
    second = await node.upload(b"two")
    platform, shares = node.platform, [Share(version_id=first.version_id)]
    back = await platform.deployments.deploy(platform.principal, "hello", shares, urls=platform.urls)
    assert await node.state(back.uuid) == "active"
    node.runtime.hold.set()
    assert await node.state(second.deployment_id) == "active"
    await node.ended()
    assert await node.serving() == first.version_id
    assert node.instances.ready(first.version_id) == 1


async def test_every_version_of_a_split_must_answer(node: Node) -> None:
    first = await node.upload(b"one")
    assert await node.state(first.deployment_id) == "active"
    second = await node.upload(b"two", deploy=False)
    shares = [
        Share(version_id=first.version_id, percentage=90),
        Share(version_id=second.version_id, percentage=10),
    ]
    platform = node.platform
    made = await platform.deployments.deploy(platform.principal, "hello", shares, urls=platform.urls)
    assert await node.state(made.uuid) == "active"
    assert len(node.runtime.running) == 2
    for wrong in (shares[:1], [shares[0], replace(shares[0], percentage=10)]):
        with pytest.raises(InvalidInput):
            await platform.deployments.deploy(platform.principal, "hello", wrong, urls=platform.urls)


async def test_what_serves_more_has_more_instances_from_the_start(node: Node) -> None:
    first = await node.upload(b"one")
    assert await node.state(first.deployment_id) == "active"
    await node.instances.warm(first.version_id, 3)
    second = await node.upload(b"two")
    assert await node.state(second.deployment_id) == "active"
    assert node.instances.ready(second.version_id) == 3


async def test_a_gradual_rollout_starts_no_more_than_what_serves_needs(node: Node) -> None:
    first = await node.upload(b"one")
    assert await node.state(first.deployment_id) == "active"
    await node.instances.warm(first.version_id, 2)
    second = await node.upload(b"two", deploy=False)
    platform = node.platform
    ready = []
    for share in (10, 50, 100):
        shares = [Share(version_id=second.version_id, percentage=share)]
        if share < 100:
            shares.append(Share(version_id=first.version_id, percentage=100 - share))
        made = await platform.deployments.deploy(platform.principal, "hello", shares, urls=platform.urls)
        assert await node.state(made.uuid) == "active"
        ready.append((node.instances.ready(first.version_id), node.instances.ready(second.version_id)))
    assert ready == [(2, 1), (2, 1), (0, 2)]


async def test_a_deployment_that_its_node_left_waiting_is_taken_up(node: Node) -> None:
    node.runtime.hold.clear()
    made = await node.upload(b"one")
    await node.rollouts.close()
    node.runtime.hold.set()
    recovering = asyncio.create_task(node.rollouts.keep_recovering(node.platform.urls))
    assert await node.state(made.deployment_id) == "active"
    recovering.cancel()
    with suppress(asyncio.CancelledError):
        await recovering


async def test_a_deployment_is_taken_up_once_and_only_from_a_node_that_is_gone(node: Node) -> None:
    node.runtime.hold.clear()
    made = await node.upload(b"one")
    await node.rollouts.close()
    write = node.platform.db.write_rows

    assert await write(take_up, "b", but={"", "c"}) == []
    taken = await asyncio.gather(*(write(take_up, name, but={"b", "c"}) for name in "bcbc"))
    assert sorted(taken) == [[], [], [], [made.deployment_id]]


async def test_one_that_was_overtaken_cannot_say_that_a_deployment_failed(node: Node) -> None:
    node.runtime.hold.clear()
    made = await node.upload(b"one")
    await node.platform.db.write_rows(take_up, "b", but=())

    failure = {"reason": "it exited", "probes": [], "tail": ""}
    settle = node.rollouts._deployments.settle
    assert not await settle(str(made.deployment_id), failure, node.platform.urls)

    deployment = await node.platform.db.read(by_uuid, made.deployment_id)
    assert deployment is not None
    assert (deployment.state, deployment.failure) == ("starting", {})
    node.runtime.hold.set()
    await node.ended()


async def test_instances_of_what_serves_no_more_end_wherever_that_was_decided(node: Node) -> None:
    first = await node.upload(b"one")
    assert await node.state(first.deployment_id) == "active"
    second = await node.upload(b"two", deploy=False)
    await node.instances.warm(second.version_id)
    await node.retirement.sweep()
    shares = [Share(version_id=second.version_id)]
    # by a node of which this one hears nothing
    elsewhere = Deployments(node.platform.db, deployed=node.platform._deployed, node="b")
    await elsewhere.deploy(node.platform.principal, "hello", shares, urls=node.platform.urls)
    told: list[tuple[str, int]] = []
    node.retirement.subscribe(lambda worker: told.append((worker, len(node.runtime.running))))

    await node.retirement.sweep()

    # before they go, so that no request is still sent to them
    assert told == [("hello", 2)]

    await node.runtime.started[0].exited()
    assert len(node.runtime.running) == 1


async def test_instances_of_a_worker_that_was_removed_elsewhere_end(node: Node) -> None:
    first = await node.upload(b"one")
    assert await node.state(first.deployment_id) == "active"
    await node.platform.db.write(delete_worker, node.worker_id)

    await node.retirement.sweep()

    assert not node.runtime.running
    assert node.instances.versions == {}
