"""Logs of builds: which attempt is shown, and what may be asked of it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from kedge.contracts.forge import Delivery

if TYPE_CHECKING:
    from tests.core.api.conftest import Caller, Project, World


@pytest.fixture
async def project(me: Caller) -> Project:
    return await me.make_project()


@pytest.fixture
async def printed(world: World, me: Caller, project: Project) -> str:
    """A build whose only attempt has printed two lines and failed."""
    uuid = await world.build(me, project)
    token = await world.started(uuid)
    appended = await world.client.post(
        f"/api/builds/{uuid}/logs/0?time_ms=1000",
        content=b"one\ntwo\n",
        headers={"Authorization": f"Bearer {token}"},
    )
    assert appended.status_code == 200, appended.text
    await world.report(uuid, token, status="initializing")
    await world.report(uuid, token, status="running")
    await world.report(uuid, token, status="stopped", outcome="fail", failure="user", message="", chunks=1)
    return uuid


@pytest.fixture
async def waiting_again(world: World, me: Caller, project: Project, printed: str) -> str:
    """It, retried while there is no room: it waits for its second attempt."""
    for _ in range(world.parts.builds.settings.builds.concurrency):
        await world.started(await world.build(me, project))
    await me.result("PUT", f"/builds/builds/{printed}/retry")
    return printed


async def lines(me: Caller, uuid: str, query: str = "") -> list[str]:
    page = await me.result("GET", f"/builds/builds/{uuid}/logs{query}")
    return [text for _, text in page["lines"]]


async def test_a_build_cancelled_while_it_waits_again_shows_the_log_it_has(
    me: Caller, waiting_again: str
) -> None:
    await me.result("PUT", f"/builds/builds/{waiting_again}/cancel")

    assert await lines(me, waiting_again) == ["one", "two"]
    assert await lines(me, waiting_again, "?tail=1") == ["two"]
    text = await me.call("GET", f"/builds/builds/{waiting_again}/logs?format=text")
    assert text.text == "one\ntwo\n"


async def test_a_build_superseded_while_it_waits_again_shows_the_log_it_has(
    world: World, me: Caller, project: Project, waiting_again: str
) -> None:
    push = world.forge.commit(project.repo)
    await world.parts.host.receive(Delivery(forge="fake", delivery_id=str(uuid4()), pushes=(push,)))

    assert (await me.result("GET", f"/builds/builds/{waiting_again}"))["build_outcome"] == "skipped"
    assert await lines(me, waiting_again) == ["one", "two"]
