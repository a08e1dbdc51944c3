"""Triggers: their rules, and builds by hand."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from tests.core.api.conftest import TRIGGER

from kedge.contracts.forge import Delivery
from kedge.db.queries.triggers import MOST_TRIGGERS

if TYPE_CHECKING:
    from tests.core.api.conftest import Caller, Project, World

    from kedge.contracts.forge import Push


@pytest.fixture
async def project(me: Caller) -> Project:
    return await me.make_project()


def wanted(project: Project, **more: Any) -> dict[str, Any]:
    """The body that makes a trigger."""
    objects = {"external_script_id": project.tag, "repo_connection_uuid": project.connection}
    return {**TRIGGER, **objects, **more}


async def test_a_trigger_has_the_documented_shape(me: Caller, project: Project) -> None:
    [trigger] = await me.result("GET", f"/builds/workers/{project.tag}/triggers")
    connection = trigger.pop("repo_connection")
    dates = [trigger.pop(name) for name in ("created_on", "modified_on")]

    assert all(date.endswith("Z") for date in dates)
    assert trigger == {
        **TRIGGER,
        "trigger_uuid": project.trigger,
        "external_script_id": project.tag,
        "build_caching_enabled": False,
        "build_caches": [],
        "build_token_uuid": None,
        "deleted_on": None,
    }
    assert connection["repo_connection_uuid"] == project.connection
    assert connection["provider_type"] == "fake"
    assert connection["provider_account_name"] == "default"


async def test_a_worker_may_have_more_than_two_triggers(me: Caller, project: Project) -> None:
    for name in ("preview", "release", "docs"):
        body = wanted(project, trigger_name=name, branch_includes=[f"{name}/*", "*-" + name])
        await me.result("POST", "/builds/triggers", body)

    names = [one["trigger_name"] for one in await me.result("GET", "/builds/workers/hello/triggers")]
    assert len(names) == 4
    assert names[0] == "production"


async def test_the_number_of_triggers_of_a_worker_is_bounded(me: Caller, project: Project) -> None:
    for _ in range(MOST_TRIGGERS - 1):
        await me.result("POST", "/builds/triggers", wanted(project))

    assert (await me.refusal("POST", "/builds/triggers", wanted(project)))[:2] == (409, 12049)


async def test_a_change_leaves_what_it_does_not_name(me: Caller, project: Project) -> None:
    path = f"/builds/triggers/{project.trigger}"
    changed = await me.result("PATCH", path, {"build_command": "make -j", "root_directory": "./site//a/"})

    assert (changed["build_command"], changed["root_directory"]) == ("make -j", "/site/a")
    assert changed["deploy_command"] == TRIGGER["deploy_command"]
    assert await me.result("PATCH", path, {}) == {
        **changed,
        "modified_on": (await me.result("GET", "/builds/workers/hello/triggers"))[0]["modified_on"],
    }


@pytest.mark.parametrize("rule", ["main", "*", "release/*", "*-preview", "v1.*.x", "fix/#12_é", "a*b*c"])
async def test_a_branch_rule_is_a_name_or_a_glob(me: Caller, project: Project, rule: str) -> None:
    made = await me.result("POST", "/builds/triggers", wanted(project, branch_includes=[rule]))

    assert made["branch_includes"] == [rule]


@pytest.mark.parametrize(
    ("field", "rule", "hint"),
    [
        ("branch_includes", "refs/heads/main", "write main"),
        ("branch_includes", "main dev", "' '"),
        ("branch_includes", "^main$", "'^'"),
        ("branch_includes", "[a-z]*", "'['"),
        ("branch_includes", "a..b", "'..'"),
        ("branch_includes", "--upload-pack=x", "none begins"),
        ("branch_includes", "main/", "none begins or ends"),
        ("branch_excludes", "", "a name"),
        ("branch_excludes", "a\nb", "a name"),
        ("branch_excludes", "x" * 256, "255"),
        ("path_includes", "/docs/*", "'docs/*'"),
        ("path_includes", "./docs", "'docs'"),
        ("path_excludes", "docs/../x", ".."),
        ("path_excludes", "a\x00b", "a name"),
    ],
)
async def test_a_rule_that_could_never_match_is_refused_with_the_reason(
    me: Caller, project: Project, field: str, rule: str, hint: str
) -> None:
    status, code, message = await me.refusal(
        "POST", "/builds/triggers", wanted(project, **{field: ["fine", rule]})
    )

    assert (status, code) == (400, 12002)
    assert message.startswith(f"{field}.1: ")
    assert hint in message


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"branch_includes": []}, "branch_includes"),
        ({"branch_includes": ["x"] * 101}, "branch_includes"),
        ({"root_directory": "../x"}, "root_directory"),
        ({"root_directory": "a\x00"}, "root_directory"),
        ({"root_directory": "a\nb"}, "root_directory"),
        ({"build_command": "a\x00b"}, "build_command"),
        ({"build_command": 7}, "build_command"),
        ({"trigger_name": ""}, "trigger_name"),
        ({"no_such_field": 1}, "no_such_field"),
    ],
)
async def test_a_bad_field_is_named(me: Caller, project: Project, change: dict[str, Any], field: str) -> None:
    for method, path, body in (
        ("POST", "/builds/triggers", wanted(project, **change)),
        ("PATCH", f"/builds/triggers/{project.trigger}", change),
    ):
        status, code, message = await me.refusal(method, path, body)
        assert (status, code) == (400, 12002)
        assert message.startswith(f"{field}: ")


async def test_a_build_token_of_the_account_can_be_set_and_taken_away(me: Caller, project: Project) -> None:
    made = await me.result("POST", "/builds/tokens", {"build_token_name": "t", "build_token_secret": "s"})
    path = f"/builds/triggers/{project.trigger}"
    token = made["build_token_uuid"]

    assert (await me.result("PATCH", path, {"build_token_uuid": token}))["build_token_uuid"] == token
    assert (await me.result("PATCH", path, {"build_token_uuid": None}))["build_token_uuid"] is None


@pytest.mark.parametrize("by", ["branch", "commit_hash", "both"])
async def test_a_branch_or_a_commit_is_built_by_hand(
    world: World, me: Caller, project: Project, by: str
) -> None:
    first = world.forge.commit(project.repo, "elsewhere")
    last = world.forge.commit(project.repo, "elsewhere")
    body = {
        "branch": {"branch": "elsewhere"},
        "commit_hash": {"commit_hash": first.commit_hash},
        "both": {"branch": "elsewhere", "commit_hash": first.commit_hash},
    }[by]
    build = await me.result("POST", f"/builds/triggers/{project.trigger}/builds", body)

    metadata = build["build_trigger_metadata"]
    assert metadata["commit_hash"] == (last if by == "branch" else first).commit_hash
    assert metadata["branch"] == "elsewhere"
    assert metadata["build_trigger_source"] == "manual"
    assert build["status"] == "queued"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"branch": "no-such-branch"}, 404),
        ({"commit_hash": "0" * 40}, 404),
        ({"branch": "--upload-pack=x"}, 400),
        ({"branch": "*"}, 400),
        ({"branch": "a\nb"}, 400),
        ({"commit_hash": "--upload-pack=abcdef1"}, 400),
        ({"commit_hash": "abcdef1; rm -rf /"}, 400),
        ({"commit_hash": "HEAD"}, 400),
        ({"branch": "main", "no_such_field": 1}, 400),
    ],
)
async def test_what_cannot_be_built_by_hand_is_refused(
    me: Caller, project: Project, body: dict[str, Any], status: int
) -> None:
    path = f"/builds/triggers/{project.trigger}/builds"

    assert (await me.refusal("POST", path, body))[0] == status


async def test_files_to_lay_beside_the_commit_are_refused_with_what_to_do(
    world: World, me: Caller, project: Project
) -> None:
    world.forge.commit(project.repo)
    body = {"branch": "main", "seed_repo": {"provider": "github", "owner": "o", "repository": "r"}}
    refusal = await me.refusal("POST", f"/builds/triggers/{project.trigger}/builds", body)

    assert refusal[:2] == (400, 12002)
    assert refusal[2].startswith("seed_repo: Kedge builds commits as they are")
    assert await me.result("GET", "/builds") == []


async def test_a_trigger_that_is_removed_while_the_forge_is_asked_queues_nothing(
    world: World, me: Caller, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    push = world.forge.commit(project.repo)

    async def resolve_slowly(*_: Any) -> Push:
        await me.result("DELETE", f"/builds/triggers/{project.trigger}")
        return push

    monkeypatch.setattr(world.forge, "resolve", resolve_slowly)
    refusal = await me.refusal("POST", f"/builds/triggers/{project.trigger}/builds", {"branch": "main"})

    assert refusal[:2] == (404, 12000)
    assert await me.result("GET", "/builds") == []


async def test_a_trigger_that_gets_another_repository_meanwhile_builds_none_of_the_old_one(
    world: World, me: Caller, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    push = world.forge.commit(project.repo)

    async def resolve_slowly(*_: Any) -> Push:
        body = {"provider_type": "fake", "repo_id": "other"}
        other = await me.result("PUT", "/builds/repos/connections", body)
        change = {"repo_connection_uuid": other["repo_connection_uuid"]}
        await me.result("PATCH", f"/builds/triggers/{project.trigger}", change)
        return push

    monkeypatch.setattr(world.forge, "resolve", resolve_slowly)
    refusal = await me.refusal("POST", f"/builds/triggers/{project.trigger}/builds", {"branch": "main"})

    assert refusal[:2] == (409, 12049)
    assert await me.result("GET", "/builds") == []


async def test_a_disconnected_repository_is_not_built_by_hand_and_not_retried(
    world: World, me: Caller, project: Project
) -> None:
    build = await world.build(me, project)
    await me.result("PUT", f"/builds/builds/{build}/cancel")
    await me.result("DELETE", f"/builds/repos/connections/{project.connection}")

    by_hand = await me.refusal("POST", f"/builds/triggers/{project.trigger}/builds", {"branch": "main"})
    again = await me.refusal("PUT", f"/builds/builds/{build}/retry")

    assert by_hand[:2] == again[:2] == (409, 12049)
    assert "default/hello is disconnected: connect it again" in by_hand[2]
    assert by_hand[2] == again[2]
    assert (await me.result("GET", f"/builds/builds/{build}"))["status"] == "stopped"
    await me.result("PUT", "/builds/repos/connections", {"provider_type": "fake", "repo_id": "hello"})
    await me.result("PUT", f"/builds/builds/{build}/retry")


async def test_the_builds_of_a_removed_trigger_are_cancelled_at_once_not_one_after_another(
    world: World, me: Caller, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = [await world.build(me, project) for _ in range(3)]
    for build in running:
        await world.started(build)
    everybody = asyncio.Barrier(len(running))
    stop = world.compute.stop

    async def stop_together(compute_id: str, *, grace: float) -> None:
        async with asyncio.timeout(60):
            await everybody.wait()
        await stop(compute_id, grace=grace)

    monkeypatch.setattr(world.compute, "stop", stop_together)
    await me.result("DELETE", f"/builds/triggers/{project.trigger}")

    builds = await me.result("GET", "/builds")
    assert [build["build_outcome"] for build in builds] == ["cancelled"] * 3


async def test_a_removed_trigger_takes_its_unfinished_builds_along(
    world: World, me: Caller, project: Project
) -> None:
    running = await world.build(me, project)
    await world.started(running)
    world.compute.hold()
    starting = await world.build(me, project)
    await world.started(starting)

    assert await me.result("DELETE", f"/builds/triggers/{project.trigger}") is None

    for build in (running, starting):
        shown = await me.result("GET", f"/builds/builds/{build}")
        assert (shown["status"], shown["build_outcome"]) == ("stopped", "cancelled")
        assert shown["trigger"]["deleted_on"]
    assert await me.result("GET", "/builds/workers/hello/triggers") == []
    assert (await me.refusal("DELETE", f"/builds/triggers/{project.trigger}"))[0] == 404
    assert (await me.refusal("PUT", f"/builds/builds/{running}/retry"))[0] == 404


async def test_a_removed_trigger_builds_no_push(world: World, me: Caller, project: Project) -> None:
    await me.result("DELETE", f"/builds/triggers/{project.trigger}")
    push = world.forge.commit(project.repo)
    delivery = Delivery(forge="fake", delivery_id=str(uuid4()), pushes=(push,))

    assert await world.parts.host.receive(delivery) == []


async def test_there_is_no_cache_to_purge(me: Caller, project: Project) -> None:
    assert await me.result("POST", f"/builds/triggers/{project.trigger}/purge_build_cache") is None
    assert (await me.refusal("POST", "/builds/triggers/nothing/purge_build_cache"))[0] == 404
