"""Deploy hooks: addresses that start builds."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
import structlog
from sqlmodel import select

from kedge.builds import deploy_hooks
from kedge.builds.deploy_hooks import MINUTE_MS, MOST_OF_ACCOUNT, MOST_OF_WORKER
from kedge.db.queries.deploy_hooks import MOST_HOOKS
from kedge.db.tables import Build, DeployHook

if TYPE_CHECKING:
    import httpx
    from sqlmodel import Session
    from tests.core.api.conftest import Caller, Project, World

HOOKS = "/builds/workers/hello/deploy_hooks"


@pytest.fixture
async def project(world: World, me: Caller) -> Project:
    made = await me.make_project()
    world.forge.commit(made.repo)
    return made


async def make(me: Caller, name: str = "cms", branch: str = "main", worker: str = "hello") -> dict[str, Any]:
    body = {"deploy_hook_name": name, "branch": branch}
    hook: dict[str, Any] = await me.result("POST", f"/builds/workers/{worker}/deploy_hooks", body)
    return hook


async def call(world: World, hook: dict[str, Any]) -> httpx.Response:
    """What a content system does: a POST with a body of its own and no token."""
    return await world.client.post(hook["kedge"]["url"], json={"event": "published"})


async def called(world: World, hook: dict[str, Any]) -> dict[str, Any]:
    response = await call(world, hook)
    assert response.status_code == 200, response.text
    asked: dict[str, Any] = response.json()["result"]
    return asked


async def refused(world: World, hook: dict[str, Any]) -> tuple[int, int, str]:
    response = await call(world, hook)
    error = response.json()["errors"][0]
    return response.status_code, error["code"], error["message"]


async def test_a_hook_has_the_documented_shape(world: World, me: Caller, project: Project) -> None:
    made = await make(me)
    address = f"http://kedge.test/client/v4/workers/builds/deploy_hooks/{made['deploy_hook_uuid']}"

    assert UUID(made["deploy_hook_uuid"]).version == 4
    assert made == {
        "deploy_hook_uuid": made["deploy_hook_uuid"],
        "deploy_hook_name": "cms",
        "branch": "main",
        "external_script_id": project.tag,
        "created_on": made["created_on"],
        "modified_on": made["created_on"],
        "kedge": {"url": address},
    }
    assert await me.result("GET", f"{HOOKS}/{made['deploy_hook_uuid']}") == made
    assert await me.result("GET", HOOKS) == [{**made, "latest_build": None}]
    asked = await called(world, made)
    [listed] = await me.result("GET", HOOKS)
    assert listed["latest_build"] == {"created_on": asked["created_on"]}


async def test_a_call_queues_a_build_of_the_newest_commit_and_needs_no_token(
    world: World, me: Caller, project: Project
) -> None:
    push = world.forge.commit(project.repo)
    asked = await called(world, await make(me, "CMS of the newsroom"))

    assert (asked["status"], asked["already_exists"]) == ("queued", False)
    assert set(asked) == {"build_uuid", "status", "created_on", "already_exists"}
    build = await me.result("GET", f"/builds/builds/{asked['build_uuid']}")
    assert build["created_on"] == asked["created_on"]
    assert build["deploy_hook"] == {"deploy_hook_name": "CMS of the newsroom"}
    assert build["build_trigger_metadata"]["build_trigger_source"] == "deploy_hook"
    assert build["build_trigger_metadata"]["commit_hash"] == push.commit_hash
    assert await world.started(asked["build_uuid"])


async def test_a_build_that_was_not_asked_for_by_a_hook_names_none(
    world: World, me: Caller, project: Project
) -> None:
    build = await me.result("GET", f"/builds/builds/{await world.build(me, project)}")

    assert build["deploy_hook"] is None


async def test_a_second_call_gets_the_build_that_has_not_begun_and_a_later_one_another(
    world: World, me: Caller, project: Project
) -> None:
    hook = await make(me)
    first = await called(world, hook)
    waiting = await called(world, hook)
    token = await world.started(first["build_uuid"])
    await world.report(first["build_uuid"], token, status="initializing")
    initializing = await called(world, hook)
    await world.report(first["build_uuid"], token, status="running")
    running = await called(world, hook)

    assert waiting == {**first, "already_exists": True}
    assert initializing == {**first, "status": "initializing", "already_exists": True}
    assert running["already_exists"] is False
    assert running["build_uuid"] != first["build_uuid"]


async def test_a_branch_that_has_moved_is_built_although_an_older_commit_waits(
    world: World, me: Caller, project: Project
) -> None:
    hook = await make(me)
    first = await called(world, hook)
    push = world.forge.commit(project.repo)
    second = await called(world, hook)

    assert second["already_exists"] is False
    assert second["build_uuid"] != first["build_uuid"]
    build = await me.result("GET", f"/builds/builds/{second['build_uuid']}")
    assert build["build_trigger_metadata"]["commit_hash"] == push.commit_hash


async def test_many_calls_at_once_queue_one_build(world: World, me: Caller, project: Project) -> None:
    hook = await make(me)
    asked = await asyncio.gather(*(called(world, hook) for _ in range(20)))

    assert len({one["build_uuid"] for one in asked}) == 1
    assert [one["already_exists"] for one in asked].count(False) == 1


async def test_a_worker_gets_so_many_builds_by_hooks_in_a_minute(
    world: World, me: Caller, project: Project
) -> None:
    hooks = [await make(me, name) for name in ("a", "b")]
    for number in range(MOST_OF_WORKER):
        world.forge.commit(project.repo)
        assert (await called(world, hooks[number % 2]))["already_exists"] is False
    for build in await me.result("GET", "/builds"):
        await me.result("PUT", f"/builds/builds/{build['build_uuid']}/cancel")
    world.forge.commit(project.repo)
    response = await call(world, hooks[0])

    assert response.status_code == 429
    assert response.headers["retry-after"] == "60"
    assert response.json()["errors"][0]["code"] == 12051
    await world.db.write(_a_minute_passes)
    assert (await called(world, hooks[0]))["already_exists"] is False


async def test_calls_that_start_nothing_are_limited_too_and_each_hook_has_its_own_limit(
    world: World, me: Caller, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook, other = await make(me, "a"), await make(me, "b")
    moment = 1_000 * deploy_hooks.MINUTE_MS
    monkeypatch.setattr(deploy_hooks, "now_ms", lambda: moment)
    statuses = [(await call(world, hook)).status_code for _ in range(deploy_hooks.MOST_CALLS + 1)]

    assert statuses == [200] * deploy_hooks.MOST_CALLS + [429]
    assert (await called(world, other))["already_exists"] is True
    monkeypatch.setattr(deploy_hooks, "now_ms", lambda: moment + deploy_hooks.MINUTE_MS)
    assert (await called(world, hook))["already_exists"] is True


async def test_builds_that_no_hook_asked_for_do_not_count(world: World, me: Caller, project: Project) -> None:
    for _ in range(MOST_OF_WORKER):
        await world.build(me, project)
    world.forge.commit(project.repo)

    assert (await called(world, await make(me)))["already_exists"] is False


async def test_an_account_gets_so_many_builds_by_hooks_in_a_minute(world: World, me: Caller) -> None:
    hooks, repos = [], []
    for number in range(MOST_OF_ACCOUNT // (MOST_OF_WORKER - 1) + 1):
        project = await me.make_project(f"worker-{number}")
        world.forge.commit(project.repo)
        repos.append(project.repo)
        hooks.append(await make(me, worker=project.worker))
        await called(world, hooks[-1])
    await world.db.write(_multiply, MOST_OF_WORKER - 2)
    world.forge.commit(repos[-1])
    status, code, message = await refused(world, hooks[-1])

    assert (status, code) == (429, 12051)
    assert f"{MOST_OF_ACCOUNT} builds of an account" in message
    other = await world.caller("other")
    project = await other.make_project("theirs")
    world.forge.commit(project.repo)
    assert (await called(world, await make(other, worker="theirs")))["already_exists"] is False


@pytest.mark.parametrize(
    "uuid", ["00000000-0000-4000-8000-000000000000", "x", "%00", "%ff", "..%2f..", "x" * 5000, "' OR 1=1 --"]
)
async def test_an_address_that_is_no_hooks_is_not_found(world: World, project: Project, uuid: str) -> None:
    response = await world.client.post(f"/client/v4/workers/builds/deploy_hooks/{uuid}")

    assert response.status_code == 404
    assert response.json()["errors"][0]["code"] == 12000
    assert uuid not in response.text or uuid == "x"


async def test_two_hooks_of_a_worker_cannot_have_one_name(me: Caller, project: Project) -> None:
    hook = await make(me, "a")
    other = await make(me, "b")
    body = {"deploy_hook_name": "a", "branch": "dev"}

    assert (await me.refusal("POST", HOOKS, body))[:2] == (409, 12049)
    assert (await me.refusal("PUT", f"{HOOKS}/{other['deploy_hook_uuid']}", body))[:2] == (409, 12049)
    changed = await me.result("PUT", f"{HOOKS}/{hook['deploy_hook_uuid']}", body)
    assert (changed["deploy_hook_name"], changed["branch"]) == ("a", "dev")
    assert changed["deploy_hook_uuid"] == hook["deploy_hook_uuid"]
    await me.make_project("other")
    assert await make(me, "a", worker="other")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"deploy_hook_name": ""}, "deploy_hook_name"),
        ({"deploy_hook_name": "x" * 59}, "deploy_hook_name"),
        ({"deploy_hook_name": "a\nb"}, "deploy_hook_name"),
        ({"branch": "release/*"}, "branch"),
        ({"branch": "--upload-pack=x"}, "branch"),
        ({"branch": ""}, "branch"),
        ({"no_such_field": 1}, "no_such_field"),
    ],
)
async def test_a_bad_field_is_named(me: Caller, project: Project, change: dict[str, Any], field: str) -> None:
    hook = await make(me)
    body = {"deploy_hook_name": "x" * 58, "branch": "main", **change}
    for method, path in (("POST", HOOKS), ("PUT", f"{HOOKS}/{hook['deploy_hook_uuid']}")):
        status, code, message = await me.refusal(method, path, body)
        assert (status, code) == (400, 12002)
        assert message.startswith(f"{field}: ")


async def test_a_removed_hook_starts_nothing(world: World, me: Caller, project: Project) -> None:
    hook = await make(me)
    removed = await me.result("DELETE", f"{HOOKS}/{hook['deploy_hook_uuid']}")

    assert removed == hook
    assert (await refused(world, hook))[:2] == (404, 12000)
    assert (await me.refusal("DELETE", f"{HOOKS}/{hook['deploy_hook_uuid']}"))[0] == 404
    assert await me.result("GET", "/builds") == []


async def test_a_hook_belongs_to_its_worker(me: Caller, project: Project) -> None:
    hook = await make(me)
    await me.make_project("other")

    path = f"/builds/workers/other/deploy_hooks/{hook['deploy_hook_uuid']}"
    assert (await me.refusal("GET", path))[0] == 404
    assert (await me.refusal("DELETE", path))[0] == 404


async def test_a_removed_worker_takes_its_hooks_along(world: World, me: Caller, project: Project) -> None:
    hook = await make(me)
    await called(world, hook)
    await me.result("DELETE", "/workers/workers/hello")

    assert (await refused(world, hook))[:2] == (404, 12000)
    assert await world.db.read(_hooks) == []


async def test_the_number_of_hooks_of_a_worker_is_bounded(me: Caller, project: Project) -> None:
    for number in range(MOST_HOOKS):
        await make(me, f"hook {number}")

    body = {"deploy_hook_name": "one more", "branch": "main"}
    assert (await me.refusal("POST", HOOKS, body))[:2] == (409, 12049)


async def test_what_cannot_be_built_is_refused_with_what_to_do(
    world: World, me: Caller, project: Project
) -> None:
    unbuilt, gone, hook = [await make(me, name, name) for name in ("unbuilt", "gone", "main")]
    await me.result(
        "PATCH", f"/builds/triggers/{project.trigger}", {"branch_includes": ["main", "gone", "dev"]}
    )

    assert "no trigger of the worker builds the branch 'unbuilt'" in (await refused(world, unbuilt))[2]
    assert (await refused(world, gone))[:2] == (404, 12000)
    await me.result("DELETE", f"/builds/repos/connections/{project.connection}")
    status, code, message = await refused(world, hook)
    assert (status, code) == (409, 12049)
    assert "is disconnected: connect it again" in message
    assert await me.result("GET", "/builds") == []


async def test_the_trigger_for_production_builds_before_one_for_previews(
    world: World, me: Caller, project: Project
) -> None:
    await me.result("PATCH", f"/builds/triggers/{project.trigger}", {"branch_includes": ["*"]})
    body = {
        "external_script_id": project.tag,
        "repo_connection_uuid": project.connection,
        "trigger_name": "release",
        "branch_includes": ["main"],
    }
    release = await me.result("POST", "/builds/triggers", body)
    asked = await called(world, await make(me))

    build = await me.result("GET", f"/builds/builds/{asked['build_uuid']}")
    assert build["trigger"]["trigger_uuid"] == release["trigger_uuid"]
    assert build["kedge"]["is_production"] is True


async def test_a_hook_that_is_changed_while_the_forge_is_asked_queues_nothing(
    world: World, me: Caller, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = await make(me)
    push = world.forge.commit(project.repo)

    async def resolve_slowly(*_: Any) -> Any:
        body = {"deploy_hook_name": "cms", "branch": "main2"}
        await me.result("PUT", f"{HOOKS}/{hook['deploy_hook_uuid']}", body)
        change = {"branch_includes": ["main", "main2"]}
        await me.result("PATCH", f"/builds/triggers/{project.trigger}", change)
        return push

    monkeypatch.setattr(world.forge, "resolve", resolve_slowly)

    assert (await refused(world, hook))[0] == 409
    assert await me.result("GET", "/builds") == []


async def test_a_token_that_may_only_read_sees_no_addresses(
    world: World, me: Caller, project: Project
) -> None:
    hook = await make(me)
    reader = await world.caller("default", can_write=False)
    [listed] = await reader.result("GET", HOOKS)

    assert listed["deploy_hook_name"] == "cms"
    assert hook["deploy_hook_uuid"] not in str(listed)


async def test_the_secret_is_in_no_log_and_not_in_the_database_as_it_is(
    world: World, me: Caller, project: Project
) -> None:
    with structlog.testing.capture_logs() as lines:
        hook = await make(me)
        await called(world, hook)
        await me.result("GET", f"{HOOKS}/{hook['deploy_hook_uuid']}")

    paths = [line["path"] for line in lines if "/deploy_hooks/" in line.get("path", "")]
    assert len(paths) == 2
    assert all(path.endswith("/deploy_hooks/[redacted]") for path in paths)
    assert hook["deploy_hook_uuid"] not in str(lines)
    [row] = await world.db.read(_hooks)
    assert hook["deploy_hook_uuid"] not in str(row.model_dump())
    assert re.fullmatch(r"[0-9a-f]{64}", row.uuid_hash)


def _hooks(session: Session) -> list[DeployHook]:
    return list(session.exec(select(DeployHook)))


def _a_minute_passes(session: Session) -> None:
    for build in session.exec(select(Build)):
        build.created_on -= MINUTE_MS


def _multiply(session: Session, times: int) -> None:
    """As if hooks had asked for each build so many times more."""
    for build in session.exec(select(Build)).all():
        for _ in range(times):
            values = build.model_dump(exclude={"id", "build_uuid"})
            stopped = {"status": "stopped", "outcome": "success"}
            session.add(Build.model_validate({**values, **stopped, "build_uuid": str(uuid4())}))
