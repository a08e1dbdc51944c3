"""What builds of code from outside get, which is less than others do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from kedge.contracts.forge import Delivery, Repo
from kedge.errors import NotFound

if TYPE_CHECKING:
    from tests.core.api.conftest import Caller, Project, World

VARIABLES = {
    "PLAIN": {"value": "everybody may know", "is_secret": False},
    "SECRET": {"value": "nobody may know", "is_secret": True},
}
UPLOAD = {"kind": "static", "files": {}, "message": ""}


@pytest.fixture
async def project(me: Caller) -> Project:
    project = await me.make_project()
    await me.result("PATCH", f"/builds/triggers/{project.trigger}/environment_variables", VARIABLES)
    return project


async def push(world: World, project: Project, *, trusted: bool, branch: str = "main") -> str:
    made = world.forge.commit(project.repo, branch, trusted=trusted)
    delivery = Delivery(forge="fake", delivery_id=uuid4().hex, pushes=(made,))
    [build_uuid] = await world.parts.host.intake.receive(delivery)
    return build_uuid


async def job_of(world: World, build_uuid: str) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {await world.started(build_uuid)}"}
    answer = await world.client.get(f"/api/builds/{build_uuid}/job", headers=headers)
    job: dict[str, Any] = answer.json()["result"]
    return job


async def test_it_learns_no_secret_and_is_not_told_how_to_deploy(world: World, project: Project) -> None:
    own, outside = [await job_of(world, await push(world, project, trusted=it)) for it in (True, False)]

    assert (own["trusted"], outside["trusted"]) == (True, False)
    assert own["variables"] == {"PLAIN": "everybody may know", "SECRET": "nobody may know"}
    assert outside["variables"] == {"PLAIN": "everybody may know"}
    assert (own["secrets"], outside["secrets"]) == (["nobody may know"], [])
    assert own["deploy"]["token"]
    assert outside["deploy"] is None
    assert outside["is_production"] is False


async def test_its_token_clones_and_deploys_nothing(world: World, project: Project) -> None:
    job = await job_of(world, await push(world, project, trusted=False))
    caller = world.nobody(token=job["clone"]["password"])

    status, _, message = await caller.refusal("POST", "/workers/workers/hello/versions/uploads", UPLOAD)
    assert (status, message) == (403, "this token may only read; use one that may write")
    for method, path in [
        ("GET", "/builds/builds"),
        ("GET", "/workers/workers"),
        ("PATCH", "/workers/workers/hello"),
    ]:
        assert (await caller.refusal(method, path))[0] == 403

    principal = await world.parts.host.authenticate(job["clone"]["password"])
    await world.parts.host.authorize_repo(principal, project.repo, write=False)


async def test_who_may_make_a_repository_is_told_how_and_strangers_learn_nothing(
    world: World, me: Caller, stranger: Caller, project: Project
) -> None:
    reader = await world.caller("default", can_write=False)
    nowhere = "there is no repository default/"

    async def told(caller: Caller, name: str) -> str:
        principal = await world.parts.host.authenticate(caller.token)
        repo = Repo(forge="fake", owner="default", name=name)
        with pytest.raises(NotFound) as caught:
            await world.parts.host.authorize_repo(principal, repo, write=True)
        return str(caught.value)

    assert (await told(me, "nope")).startswith(f"{nowhere}nope: `kedge worker create nope` makes it")
    for caller in (stranger, reader):
        for name in ("nope", project.repo.name):
            assert await told(caller, name) == nowhere + name
    assert await told(me, "$(id)") == f"{nowhere}$(id)"


async def test_it_supersedes_no_build_of_the_repository_itself(
    world: World, me: Caller, project: Project
) -> None:
    world.compute.hold()
    for _ in range(6):
        await world.build(me, project)
    own = await push(world, project, trusted=True)
    outside = await push(world, project, trusted=False)
    assert await status(me, own) == "queued"

    newer = await push(world, project, trusted=False)
    assert [await status(me, one) for one in (own, outside, newer)] == ["queued", "stopped", "queued"]


async def test_it_says_so(world: World, me: Caller, project: Project) -> None:
    for trusted in (True, False):
        build_uuid = await push(world, project, trusted=trusted)
        assert (await me.result("GET", f"/builds/builds/{build_uuid}"))["kedge"]["trusted"] is trusted


async def status(me: Caller, build_uuid: str) -> str:
    return str((await me.result("GET", f"/builds/builds/{build_uuid}"))["status"])
