"""What forges are told of builds."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from tests.core.api.routes import CONTENT, DIGEST, MANIFEST

from kedge.builds import reports
from kedge.contracts.forge import Delivery
from kedge.errors import InvalidInput

if TYPE_CHECKING:
    from tests.core.api.conftest import Caller, Project, World

    from kedge.contracts.forge import Push


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "PAUSES", (0.0, 0.0, 0.0, 0.0))


@pytest.fixture
async def project(me: Caller) -> Project:
    return await me.make_project()


async def push(world: World, made: Push) -> list[str]:
    delivery = Delivery(forge="fake", delivery_id=str(uuid4()), pushes=(made,))
    return list(await world.parts.host.receive(delivery))


async def run(world: World, uuid: str, **end: Any) -> None:
    token = await world.started(uuid)
    await world.report(uuid, token, status="initializing")
    await world.report(uuid, token, status="running")
    await world.report(uuid, token, status="stopped", chunks=0, **end)


async def told(world: World, uuid: str, status: str) -> list[tuple[str, str | None]]:
    async with asyncio.timeout(60):
        return [(one.status, one.outcome) for one in await world.forge.reported(uuid, status)]


async def test_a_forge_is_told_each_step_in_order(world: World, me: Caller, project: Project) -> None:
    made = world.forge.commit(project.repo)
    [uuid] = await push(world, made)
    await run(world, uuid, outcome="fail", failure="user", message="exit status 3", exit_code=3)

    assert await told(world, uuid, "stopped") == [("queued", None), ("running", None), ("stopped", "fail")]
    last = world.forge.reports[-1]
    assert (last.repo, last.worker, last.branch) == (project.repo, "hello", "main")
    assert last.commit_hash == made.commit_hash
    assert last.summary == "exit status 3"
    assert last.details_url == (
        f"http://kedge.test/client/v4/accounts/default/builds/builds/{uuid}/logs?format=text"
    )
    assert last.preview_url is None
    assert [one.summary for one in world.forge.reports[:2]] == ["Waits for its turn.", "Is running."]


async def test_a_cancelled_build_and_its_retry_are_told(world: World, me: Caller, project: Project) -> None:
    uuid = await world.build(me, project)
    await me.result("PUT", f"/builds/builds/{uuid}/cancel")
    assert (await told(world, uuid, "stopped"))[-1] == ("stopped", "cancelled")
    await me.result("PUT", f"/builds/builds/{uuid}/retry")

    assert (await told(world, uuid, "queued"))[-1] == ("queued", None)


async def test_a_superseded_build_is_told_as_skipped_and_one_that_a_rule_skips_not_at_all(
    world: World, me: Caller, project: Project
) -> None:
    world.compute.hold()
    for _ in range(6):
        await world.build(me, project)
    [older] = await push(world, world.forge.commit(project.repo))
    [newer] = await push(world, world.forge.commit(project.repo))
    [skipped] = await push(world, world.forge.commit(project.repo, message="[skip ci] typo"))

    assert await told(world, older, "stopped") == [("queued", None), ("stopped", "skipped")]
    assert (await me.result("GET", f"/builds/builds/{skipped}"))["build_outcome"] == "skipped"
    assert await told(world, newer, "queued")
    assert {one.build_uuid for one in world.forge.reports}.isdisjoint({skipped})


async def test_a_forge_that_does_not_answer_holds_up_no_build(
    world: World, me: Caller, project: Project
) -> None:
    world.forge.reports_held.clear()
    builds = [await world.build(me, project) for _ in range(reports.AT_A_TIME + 2)]
    for uuid in builds:
        await run(world, uuid, outcome="success")
    shown = [await me.result("GET", f"/builds/builds/{uuid}") for uuid in builds]
    assert {one["build_outcome"] for one in shown} == {"success"}
    assert world.forge.reports == []
    world.forge.reports_held.set()

    for uuid in builds:
        assert await told(world, uuid, "stopped") == [
            ("queued", None),
            ("running", None),
            ("stopped", "success"),
        ]


async def test_a_report_that_fails_is_tried_again(world: World, me: Caller, project: Project) -> None:
    world.forge.report_failures = [RuntimeError("down"), TimeoutError(), RuntimeError("still down")]
    uuid = await world.build(me, project)

    assert await told(world, uuid, "queued") == [("queued", None)]


async def test_tries_are_bounded_and_the_next_report_is_made_all_the_same(
    world: World, me: Caller, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = len(reports.PAUSES) + 1
    world.forge.report_failures = [RuntimeError(f"down {number}") for number in range(tries)]
    given_up = asyncio.Event()
    monkeypatch.setattr(reports.log, "warning", lambda *_, **__: given_up.set(), raising=False)
    uuid = await world.build(me, project)
    async with asyncio.timeout(60):
        await given_up.wait()
    await me.result("PUT", f"/builds/builds/{uuid}/cancel")

    assert world.forge.report_failures == []
    assert await told(world, uuid, "stopped") == [("stopped", "cancelled")]


async def test_an_answer_that_is_final_is_not_asked_for_again(
    world: World, me: Caller, project: Project
) -> None:
    world.forge.report_failures = [InvalidInput("no such commit")]
    uuid = await world.build(me, project)
    await me.result("PUT", f"/builds/builds/{uuid}/cancel")

    assert await told(world, uuid, "stopped") == [("stopped", "cancelled")]


async def test_a_report_that_keeps_failing_gives_way_to_a_newer_one(
    world: World, me: Caller, project: Project
) -> None:
    world.forge.reports_held.clear()
    uuid = await world.build(me, project)
    await me.result("PUT", f"/builds/builds/{uuid}/cancel")
    world.forge.report_failures = [RuntimeError("down")]
    world.forge.reports_held.set()

    assert await told(world, uuid, "stopped") == [("stopped", "cancelled")]


async def deploy(world: World, me: Caller, uuid: str, *, live: bool) -> str:
    """Let a build upload a version, end well and be told of; return the version's id."""
    token = await world.started(uuid)
    headers = {"Authorization": f"Bearer {token}"}
    job = (await world.client.get(f"/api/builds/{uuid}/job", headers=headers)).json()["result"]
    deployer = type(me)(world.client, me.account, me.account_id, job["deploy"]["token"])
    uploads = "/workers/workers/hello/versions/uploads"
    upload = (await deployer.result("POST", uploads, MANIFEST))["upload_id"]
    await deployer.call("PUT", f"{uploads}/{upload}/files/{DIGEST}", content=CONTENT)
    version = await deployer.result("POST", f"{uploads}/{upload}/complete", {"deploy": live})
    await world.report(uuid, token, status="running")
    await world.report(uuid, token, status="stopped", outcome="success", chunks=0)
    await told(world, uuid, "stopped")
    return str(version["version_id"])


async def shown(me: Caller, uuid: str) -> tuple[str, str]:
    build = await me.result("GET", f"/builds/builds/{uuid}")
    return build["kedge"]["url"], build["preview_url"]


async def test_what_was_deployed_is_told_with_its_url(world: World, me: Caller, project: Project) -> None:
    await me.result("PATCH", f"/builds/triggers/{project.trigger}", {"branch_includes": ["main", "*"]})
    uuid = await world.build(me, project)
    version = await deploy(world, me, uuid, live=False)

    url = f"http://{version[:8]}-hello.localhost/"
    assert world.forge.reports[-1].preview_url == url
    assert world.forge.reports[-1].summary == "Succeeded."
    assert await shown(me, uuid) == (url, url)


async def test_what_was_put_into_production_is_told_and_shown_there(
    world: World, me: Caller, project: Project
) -> None:
    uuid = await world.build(me, project)
    version = await deploy(world, me, uuid, live=True)

    assert world.forge.reports[-1].preview_url == "http://hello.localhost/"
    assert await shown(me, uuid) == ("http://hello.localhost/", f"http://{version[:8]}-hello.localhost/")


async def test_where_another_account_has_a_worker_of_the_name_the_url_is_still_the_own_one(
    world: World, me: Caller, stranger: Caller
) -> None:
    await stranger.make_project("hello")
    uuid = await world.build(me, await me.make_project("hello"))
    version = await deploy(world, me, uuid, live=True)

    url = "http://hello.default.localhost/"
    assert world.forge.reports[-1].preview_url == url
    assert await shown(me, uuid) == (url, f"http://{version[:8]}-hello.default.localhost/")
