"""Workers: made, found, renamed, removed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from sqlmodel import func, select
from tests.core.api.routes import make_objects

from kedge.contracts.forge import Delivery
from kedge.contracts.log_store import LogKey
from kedge.db.tables import Attempt, Build, Trigger, TriggerVariable, Version, Worker

if TYPE_CHECKING:
    from sqlmodel import Session
    from tests.core.api.conftest import Caller, World

    from kedge.contracts.forge import Push


async def test_a_worker_is_found_by_its_name_and_by_its_tag(me: Caller) -> None:
    made = await me.result("POST", "/workers/workers", {"name": "hello"})

    assert made["name"] == "hello"
    assert made["id"] == made["tag"]
    for worker in ("hello", made["tag"]):
        assert await me.result("GET", f"/workers/workers/{worker}") == made
    assert await me.result("GET", "/workers/workers") == [made]


async def test_tools_find_the_tag_behind_a_name(me: Caller) -> None:
    tag = (await me.result("POST", "/workers/workers", {"name": "hello"}))["id"]
    service = await me.result("GET", "/workers/services/hello")

    assert service["default_environment"]["environment"] == "production"
    assert service["default_environment"]["script"]["tag"] == tag
    [script] = await me.result("GET", "/workers/scripts")
    assert (script["id"], script["tag"]) == ("hello", tag)


async def test_a_name_is_taken_once_in_an_account_and_free_in_another(me: Caller, stranger: Caller) -> None:
    await me.result("POST", "/workers/workers", {"name": "hello"})
    await me.result("POST", "/workers/workers", {"name": "other"})

    assert (await me.refusal("POST", "/workers/workers", {"name": "hello"}))[:2] == (409, 12049)
    assert (await me.refusal("PATCH", "/workers/workers/other", {"name": "hello"}))[:2] == (409, 12049)
    assert await stranger.result("POST", "/workers/workers", {"name": "hello"})


async def test_of_several_who_want_a_name_one_gets_it(me: Caller) -> None:
    calls = [me.call("POST", "/workers/workers", {"name": "hello"}) for _ in range(8)]
    statuses = sorted(response.status_code for response in await asyncio.gather(*calls))

    assert statuses == [200] + [409] * 7


@pytest.mark.parametrize(
    "name", ["", "-a", "a-", "A", "1a", "ä", "a.b", "a/b", "../x", "a" * 59, "a\n", "$(x)"]
)
async def test_a_name_that_is_no_host_name_is_refused(me: Caller, name: str) -> None:
    status, code, message = await me.refusal("POST", "/workers/workers", {"name": name})

    assert (status, code) == (400, 12002)
    assert message.startswith("name: ")


async def test_a_renamed_worker_keeps_its_tag(me: Caller) -> None:
    tag = (await me.result("POST", "/workers/workers", {"name": "hello"}))["id"]
    renamed = await me.result("PATCH", "/workers/workers/hello", {"name": "bye"})

    assert (renamed["name"], renamed["id"]) == ("bye", tag)
    assert (await me.refusal("GET", "/workers/workers/hello"))[0] == 404
    assert await me.result("PATCH", "/workers/workers/bye", {"name": "bye"}) == renamed


async def test_a_removed_worker_takes_everything_of_its_own_along(world: World, me: Caller) -> None:
    made = await make_objects(world, me, "hello")
    kept = await make_objects(world, me, "kept")
    token = await world.started(made["build_uuid"])
    headers = {"Authorization": f"Bearer {token}"}
    url = f"/api/builds/{made['build_uuid']}/logs/0?time_ms=1"
    assert (await world.client.post(url, content=b"hello\n", headers=headers)).status_code == 200

    assert await me.result("DELETE", "/workers/workers/hello") == {"id": made["tag"]}

    for table in (Worker, Trigger, TriggerVariable, Build, Attempt, Version):
        assert await world.db.read(_count, table) == 1, table
    key = LogKey(log_id=made["build_uuid"], part=1)
    assert (await world.parts.log_store.extent(key)).size == 0
    assert (await me.refusal("GET", f"/builds/builds/{made['build_uuid']}"))[0] == 404
    assert await me.result("GET", f"/builds/builds/{kept['build_uuid']}")
    assert not any(one.build_uuid == made["build_uuid"] for one in await world.compute.list())


async def test_a_worker_is_removed_whatever_its_builds_are_doing(world: World, me: Caller) -> None:
    project = await me.make_project()
    running = await world.build(me, project)
    await world.report(running, await world.started(running), status="initializing")
    world.compute.hold()
    starting = [await world.build(me, project) for _ in range(5)]
    for uuid in starting:
        await world.started(uuid)
    for _ in range(3):
        await world.build(me, project)

    answers = await asyncio.gather(*(me.call("DELETE", "/workers/workers/hello") for _ in range(3)))

    assert 200 in {answer.status_code for answer in answers}
    assert {answer.status_code for answer in answers} <= {200, 404}
    assert await world.db.read(_count, Build) == 0
    assert await world.compute.list() == []
    assert await me.result("GET", "/builds/queue") == []


async def test_a_push_during_removal_leaves_nothing_behind(world: World, me: Caller) -> None:
    project = await me.make_project()
    pushes = [world.forge.commit(project.repo) for _ in range(20)]

    async def push(one: Push) -> None:
        delivery = Delivery(forge="fake", delivery_id=one.commit_hash, pushes=(one,))
        await world.parts.host.receive(delivery)

    await asyncio.gather(*map(push, pushes), me.result("DELETE", "/workers/workers/hello"))

    assert await world.db.read(_count, Build) == 0
    assert await me.result("GET", "/builds/queue") == []


async def test_the_repository_of_a_removed_worker_is_there_for_the_next(world: World, me: Caller) -> None:
    project = await me.make_project()
    world.forge.commit(project.repo)
    await me.result("DELETE", "/workers/workers/hello")
    again = await me.make_project()

    assert again.connection == project.connection
    assert again.tag != project.tag
    assert world.forge.repos[project.repo]["main"]


def _count(session: Session, table: type[Any]) -> int:
    return session.exec(select(func.count()).select_from(table)).one()
