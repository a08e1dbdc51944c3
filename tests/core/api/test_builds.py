"""Builds: what is shown of them, and what can be done to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.core.api.routes import make_objects
from tests.core.api.statements import statements

from kedge.contracts.failures import ADVICE, Failure

if TYPE_CHECKING:
    from tests.core.api.conftest import Caller, Project, World

#: the Build object of Workers Builds, and what is Kedge's own
FIELDS = {
    "build_uuid",
    "status",
    "build_outcome",
    "created_on",
    "modified_on",
    "initializing_on",
    "running_on",
    "stopped_on",
    "preview_url",
    "deploy_hook",
    "pull_request",
    "trigger",
    "build_trigger_metadata",
    "kedge",
}
METADATA = {
    "build_trigger_source",
    "branch",
    "commit_hash",
    "commit_message",
    "author",
    "build_command",
    "deploy_command",
    "root_directory",
    "build_token_uuid",
    "build_token_name",
    "environment_variables",
    "repo_name",
    "provider_account_name",
    "provider_type",
}


@pytest.fixture
async def project(me: Caller) -> Project:
    return await me.make_project()


async def test_a_build_has_the_documented_shape(world: World, me: Caller, project: Project) -> None:
    uuid = await world.build(me, project, message="Say hello", author="A <a@example.com>")
    build = await me.result("GET", f"/builds/builds/{uuid}")

    assert set(build) == FIELDS
    assert set(build["build_trigger_metadata"]) == METADATA
    assert build["build_trigger_metadata"]["commit_message"] == "Say hello"
    assert build["build_trigger_metadata"]["provider_type"] == "fake"
    assert build["trigger"]["trigger_uuid"] == project.trigger
    assert build["kedge"]["worker"] == "hello"
    assert build["kedge"]["log_url"].endswith(f"/client/v4/accounts/default/builds/builds/{uuid}/logs")


async def test_a_build_keeps_of_its_commit_and_its_failure_what_is_text(
    world: World, me: Caller, project: Project
) -> None:
    uuid = await world.build(
        me, project, message="fix\n\n\x1b]0;owned\x07it \x9b2Jcafé\n", author="A\x1b[2J <a@example.com>"
    )
    token = await world.started(uuid)
    said = "\x1b[31mexit\0 status\x1b[0m 3\r\nat last"
    end = {"outcome": "fail", "failure": "user", "message": said, "chunks": 0}
    await world.report(uuid, token, status="stopped", **end)
    build = await me.result("GET", f"/builds/builds/{uuid}")

    metadata = build["build_trigger_metadata"]
    assert (metadata["commit_message"], metadata["author"]) == ("fix\n\nit café\n", "A <a@example.com>")
    assert build["kedge"]["failure"]["message"] == "exit status 3\nat last"


@pytest.mark.parametrize(
    "odd", [{"name": "\x1b[2J"}, {"duration_ms": "long"}, {"duration_ms": -1}, {"outcome": ""}, {"more": 1}]
)
async def test_a_runner_tells_phases_of_a_known_form(
    world: World, me: Caller, project: Project, odd: dict[str, Any]
) -> None:
    uuid = await world.build(me, project)
    token = await world.started(uuid)
    phase = {"name": "build", "started_ms": 1, "duration_ms": 2, "outcome": "success", **odd}

    refused = await world.report(uuid, token, status="stopped", outcome="success", chunks=0, phases=[phase])

    assert refused.status_code == 400


async def test_a_build_is_seen_going_its_way(world: World, me: Caller, project: Project) -> None:
    uuid = await world.build(me, project)
    token = await world.started(uuid)
    await world.report(uuid, token, status="initializing")
    await world.report(uuid, token, status="running")
    running = await me.result("GET", f"/builds/builds/{uuid}")
    phases = [{"name": "build", "started_ms": 1, "duration_ms": 2, "outcome": "fail"}]
    await world.report(
        uuid,
        token,
        status="stopped",
        outcome="fail",
        failure="user",
        message="exit status 3",
        exit_code=3,
        chunks=0,
        phases=phases,
    )
    stopped = await me.result("GET", f"/builds/builds/{uuid}")

    assert (running["status"], running["build_outcome"], running["stopped_on"]) == ("running", None, None)
    assert running["initializing_on"]
    assert running["running_on"]
    assert (stopped["status"], stopped["build_outcome"]) == ("stopped", "fail")
    extra = stopped["kedge"]
    assert extra["failure"] == {
        "class": "user",
        "message": "exit status 3",
        "advice": ADVICE[Failure.USER],
    }
    assert (extra["exit_code"], extra["phases"], extra["wait"]) == (3, phases, None)
    assert [(one["number"], one["compute"]) for one in extra["attempts"]] == [(1, "fake")]
    assert extra["attempts"][0]["ended_on"]


async def test_the_preview_url_is_shown_of_one_build_once_there_is_one(world: World, me: Caller) -> None:
    made = await make_objects(world, me, "hello")
    uuid = made["build_uuid"]
    assert (await me.result("GET", f"/builds/builds/{uuid}"))["preview_url"] is None
    await _upload(world, me, uuid)

    shown = await me.result("GET", f"/builds/builds/{uuid}")
    assert shown["preview_url"] == f"http://{shown['kedge']['version_id'][:8]}-hello.localhost/"
    assert shown["kedge"]["url"] == "http://hello.localhost/"
    [listed] = await me.result("GET", "/builds")
    assert listed["preview_url"] is None
    assert listed["kedge"]["version_id"] == shown["kedge"]["version_id"]
    builds = await me.result("GET", f"/builds/builds?version_ids={shown['kedge']['version_id']},unknown")
    assert list(builds["builds"]) == [shown["kedge"]["version_id"]]


async def test_a_build_that_a_newer_one_has_overtaken_is_told_why_it_does_not_serve(
    world: World, me: Caller, project: Project
) -> None:
    older, newer = [await world.build(me, project) for _ in range(2)]
    await world.started(older)
    first = await _upload(world, me, newer)
    late = await _upload(world, me, older)
    build = await me.result("GET", f"/builds/builds/{newer}")

    commit = build["build_trigger_metadata"]["commit_hash"][:12]
    assert (first["live"], first["reason"]) == (True, None)
    assert (late["live"], late["reason"]) == (
        False,
        f"the newer build {newer[:8]} of {commit} went live while this one ran",
    )


async def test_the_latest_build_of_each_worker_is_found_by_tag(world: World, me: Caller) -> None:
    projects = [await me.make_project(name) for name in ("a", "b", "idle")]
    latest = {}
    for project in (projects[0], projects[1], projects[0]):
        latest[project.tag] = await world.build(me, project)
    tags = ",".join([*(project.tag for project in projects), "unknown"])
    found = await me.result("GET", f"/builds/builds/latest?external_script_ids={tags}")

    assert {tag: build["build_uuid"] for tag, build in found["builds"].items()} == latest


@pytest.mark.parametrize(
    "path", ["/builds/builds?version_ids=", "/builds/builds/latest?external_script_ids="]
)
async def test_at_most_twenty_ids_are_asked_for_at_once(me: Caller, path: str) -> None:
    assert await me.result("GET", path + ",".join(map(str, range(20)))) == {"builds": {}}
    for ids in ("", ",,", ",".join(map(str, range(21)))):
        assert (await me.refusal("GET", path + ids))[:2] == (400, 12002)


async def test_builds_come_in_pages_newest_first(world: World, me: Caller, project: Project) -> None:
    uuids = [await world.build(me, project) for _ in range(5)][::-1]
    pages = []
    for page in (1, 2, 3, 4):
        path = f"/builds/workers/{project.tag}/builds?page={page}&per_page=2"
        envelope = (await me.call("GET", path)).json()
        pages.append([build["build_uuid"] for build in envelope["result"]])
        assert envelope["result_info"] == {
            "page": page,
            "per_page": 2,
            "count": len(pages[-1]),
            "total_count": 5,
            "total_pages": 3,
            "next_page": page + 1 if page < 3 else 0,
        }

    assert pages == [uuids[:2], uuids[2:4], uuids[4:], []]


@pytest.mark.parametrize(
    "query",
    [
        *("page=0", "page=-1", "page=x", "per_page=201", "per_page=0", "page=1e3", "page=", "page=²"),
        *("per_page=00000000199999", "page=00000000199999", "page=" + "9" * 30, "page=" + "9" * 5000),
    ],
)
async def test_a_page_that_cannot_be_is_refused(me: Caller, project: Project, query: str) -> None:
    for path in ("/builds/workers/hello/builds", "/builds", "/builds/queue"):
        if path == "/builds/queue" and query == "per_page=201":
            continue
        assert (await me.refusal("GET", f"{path}?{query}"))[:2] == (400, 12002)


async def test_builds_are_narrowed_by_worker_branch_and_status(world: World, me: Caller) -> None:
    hello = await me.make_project("hello")
    other = await me.make_project("other")
    here = await world.build(me, hello)
    await world.build(me, other)
    branch = await world.build(me, hello, branch="dev")
    await me.result("PUT", f"/builds/builds/{branch}/cancel")

    for query, expected in (
        ("worker=hello&branch=main", [here]),
        ("worker=hello", [branch, here]),
        (f"worker={hello.tag}&status=stopped", [branch]),
        ("outcome=cancelled", [branch]),
        ("outcome=success", []),
        ("branch=dev", [branch]),
        ("branch=none", []),
    ):
        found = await me.result("GET", f"/builds?{query}")
        assert [build["build_uuid"] for build in found] == expected, query
    assert (await me.refusal("GET", "/builds?status=done"))[:2] == (400, 12002)
    assert (await me.refusal("GET", "/builds?outcome=stopped"))[:2] == (400, 12002)
    assert (await me.refusal("GET", "/builds?worker=none"))[0] == 404


async def test_a_waiting_build_says_its_place_its_reason_and_who_is_before_it(
    world: World, me: Caller, project: Project
) -> None:
    preview = await me.result(
        "POST",
        "/builds/triggers",
        {
            "external_script_id": project.tag,
            "repo_connection_uuid": project.connection,
            "trigger_name": "preview",
            "branch_includes": ["*"],
        },
    )
    for _ in range(world.parts.builds.settings.builds.concurrency):
        await world.started(await world.build(me, project))
    world.forge.commit(project.repo)
    path = f"/builds/triggers/{preview['trigger_uuid']}/builds"
    late = (await me.result("POST", path, {"branch": "main"}))["build_uuid"]
    first = await world.build(me, project)
    second = await world.build(me, project)
    queue = await me.result("GET", "/builds/queue")

    assert [(one["position"], one["build_uuid"]) for one in queue] == [(1, first), (2, second), (3, late)]
    assert [one["before"] for one in queue] == [[], [first], [first, second]]
    assert [one["is_production"] for one in queue] == [True, True, False]
    assert all(one["reason"] for one in queue)
    for one in queue:
        wait = (await me.result("GET", f"/builds/builds/{one['build_uuid']}"))["kedge"]["wait"]
        assert {"position": one["position"], "before": one["before"]}.items() <= wait.items()
    [shown] = await me.result("GET", "/builds/queue?page=2&per_page=2")
    assert (shown["position"], shown["before"]) == (3, [first, second])


async def test_the_queue_shows_nobody_elses_builds(world: World, me: Caller, stranger: Caller) -> None:
    project = await stranger.make_project()
    for _ in range(8):
        await world.build(stranger, project)

    assert await me.result("GET", "/builds/queue") == []


@pytest.mark.parametrize("stage", ["queued", "starting", "running"])
async def test_a_build_is_cancelled_at_every_stage(
    world: World, me: Caller, project: Project, stage: str
) -> None:
    if stage == "queued":
        for _ in range(world.parts.builds.settings.builds.concurrency):
            await world.started(await world.build(me, project))
    if stage == "starting":
        world.compute.hold()
    uuid = await world.build(me, project)
    if stage != "queued":
        await world.started(uuid)
    cancelled = await me.result("PUT", f"/builds/builds/{uuid}/cancel")

    assert set(cancelled) == {"build_uuid", "build_outcome", "stopped_on"}
    build = await _until_stopped(me, uuid)
    assert build["build_outcome"] == "cancelled"
    assert (await me.refusal("PUT", f"/builds/builds/{uuid}/cancel"))[0] == 409


async def test_a_stopped_build_is_tried_again_with_the_settings_of_now(
    world: World, me: Caller, project: Project
) -> None:
    uuid = await world.build(me, project)
    assert (await me.refusal("PUT", f"/builds/builds/{uuid}/retry"))[0] == 409
    await world.started(uuid)
    await me.result("PUT", f"/builds/builds/{uuid}/cancel")
    await _until_stopped(me, uuid)
    await me.result("PATCH", f"/builds/triggers/{project.trigger}", {"build_command": "make again"})
    again = await me.result("PUT", f"/builds/builds/{uuid}/retry")

    assert (again["build_outcome"], again["stopped_on"]) == (None, None)
    assert again["build_trigger_metadata"]["build_command"] == "make again"


async def test_what_a_build_was_made_of_stays_when_its_trigger_changes(
    world: World, me: Caller, project: Project
) -> None:
    uuid = await world.build(me, project)
    await me.result("PATCH", f"/builds/triggers/{project.trigger}", {"build_command": "other"})
    build = await me.result("GET", f"/builds/builds/{uuid}")

    assert build["build_trigger_metadata"]["build_command"] == "make"
    assert build["trigger"]["build_command"] == "other"


async def test_there_is_no_limit_on_minutes(me: Caller) -> None:
    assert await me.result("GET", "/builds/account/limits") == {
        "has_reached_build_minutes_limit": False,
        "build_minutes_refresh_on": None,
    }


@pytest.mark.parametrize(
    "uuid", ["00000000-0000-4000-8000-000000000000", "x", "%2e%2e", "x" * 2000, "$(id)", "é"]
)
async def test_an_unknown_build_is_not_found(me: Caller, uuid: str) -> None:
    assert (await me.refusal("GET", f"/builds/builds/{uuid}"))[:2] == (404, 12000)


async def test_showing_many_builds_costs_as_many_statements_as_showing_one(
    world: World, me: Caller, project: Project
) -> None:
    paths = ["/builds", "/builds/queue", "/builds/workers/hello/builds", "/builds/workers/hello/triggers"]
    await world.build(me, project)
    few = [await statements(world, me, path) for path in paths]
    for _ in range(12):
        await world.build(me, project)
    many = [await statements(world, me, path) for path in paths]

    assert few == many
    assert max(many) <= 4


async def _until_stopped(me: Caller, uuid: str) -> Any:
    while True:
        build = await me.result("GET", f"/builds/builds/{uuid}")
        if build["status"] == "stopped":
            return build


async def _upload(world: World, me: Caller, uuid: str) -> Any:
    """Let the attempt of a build deploy a page; return what it is told."""
    from tests.core.api.routes import CONTENT, DIGEST, MANIFEST

    headers = {"Authorization": f"Bearer {await world.started(uuid)}"}
    job = (await world.client.get(f"/api/builds/{uuid}/job", headers=headers)).json()["result"]
    builder = type(me)(world.client, me.account, me.account_id, job["deploy"]["token"])
    uploads = "/workers/workers/hello/versions/uploads"
    upload = (await builder.result("POST", uploads, MANIFEST))["upload_id"]
    await builder.call("PUT", f"{uploads}/{upload}/files/{DIGEST}", content=CONTENT)
    return await builder.result("POST", f"{uploads}/{upload}/complete", {"deploy": True})
