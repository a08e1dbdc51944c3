"""Logs of builds: which attempt is shown, and what may be asked of it."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from kedge.contracts.forge import Delivery
from kedge.contracts.log_store import LogKey
from kedge.errors import StoreUnavailable
from kedge.logs import logs as all_logs

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

    build = await me.result("GET", f"/builds/builds/{waiting_again}")
    why = f"Superseded by {push.commit_hash[:12]}."
    assert (build["build_outcome"], build["kedge"]["message"]) == ("skipped", why)
    assert await lines(me, waiting_again) == ["one", "two"]
    said = [data async for data in world.parts.host.follow(waiting_again)]
    assert said[-1].decode().endswith(f"ended: skipped. {why}\n")


async def test_who_follows_a_build_that_waits_is_told_why_once(
    world: World, me: Caller, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SWEEP_SECONDS", "KEEP_ALIVE_SECONDS"):
        monkeypatch.setattr(all_logs, name, 0.01)
    for _ in range(world.parts.builds.settings.builds.concurrency):
        await world.started(await world.build(me, project))
    waiting = await world.build(me, project)

    said: Any = world.parts.host.follow(waiting)
    async with asyncio.timeout(60), aclosing(said):
        assert (await anext(said)).startswith(b"It waits: ")
        following = asyncio.ensure_future(anext(said))
        await asyncio.wait((following,), timeout=0.2)
        assert not following.done()
        await me.result("PUT", f"/builds/builds/{waiting}/cancel")
        assert b"ended: cancelled" in await following


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(all_logs, "RESEAL_SECONDS", 0.01)


@pytest.mark.usefixtures("impatient")
async def test_a_node_seals_again_what_workers_printed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    key = LogKey(log_id=world.parts.worker_logs.log_id("w" * 32), part=1)
    answers: list[Exception | None] = [StoreUnavailable("the disk is full"), None]
    sealed = asyncio.Event()

    async def seal(asked: LogKey) -> None:
        assert asked == key
        answer = answers.pop(0)
        if answer is not None:
            raise answer
        sealed.set()

    monkeypatch.setattr(world.parts.log_store, "seal", seal)
    await world.parts.worker_logs.seal(key)
    async with asyncio.timeout(60):
        await sealed.wait()


NUMBERS = ["-1", "x", "", "²", "٣", "1e3", "00000000100000", "9" * 10, "9" * 5000]


@pytest.mark.parametrize("given", NUMBERS)
@pytest.mark.parametrize("name", ["tail", "attempt"])
async def test_a_number_that_cannot_be_is_refused(me: Caller, printed: str, name: str, given: str) -> None:
    if (name, given) == ("attempt", "00000000100000"):
        given = "0" * 9 + "1"
    for path in (f"/builds/builds/{printed}/logs", "/workers/workers/hello/logs"):
        refused = await me.refusal("GET", path, params={name: given})
        assert refused[:2] == (400, 12002)


@pytest.mark.parametrize(
    "cursor", ["9999999999.0", "1." + "9" * 20, "1." + "9" * 37, "٣.0", "1.", "1", "a.b"]
)
async def test_a_cursor_that_cannot_be_is_refused(me: Caller, printed: str, cursor: str) -> None:
    for path in (f"/builds/builds/{printed}/logs", "/workers/workers/hello/logs"):
        assert (await me.refusal("GET", path, params={"cursor": cursor}))[:2] == (400, 12002)


@pytest.mark.parametrize(
    ("wanted", "status", "text"),
    [
        ("bytes=4-", 206, "two\n"),
        ("bytes=-4", 206, "two\n"),
        ("bytes=4-" + "9" * 50, 206, "two\n"),
        ("bytes=-" + "9" * 50, 206, "one\ntwo\n"),
        ("bytes=" + "9" * 50 + "-", 416, ""),
        ("bytes=" + "9" * 5000 + "-", 200, "one\ntwo\n"),
        ("bytes=5-2", 416, ""),
        ("bytes=0-0,2-3", 200, "one\ntwo\n"),
        ("lines=1-2", 200, "one\ntwo\n"),
    ],
)
async def test_a_range_of_the_text_is_given_however_long_its_numbers(
    me: Caller, printed: str, wanted: str, status: int, text: str
) -> None:
    path = f"/builds/builds/{printed}/logs?format=text"
    answer = await me.call("GET", path, headers={"Range": wanted})

    assert (answer.status_code, answer.text) == (status, text)


@pytest.mark.parametrize("number", ["x", "9" * 10, "9" * 5000, "٣"])
async def test_a_chunk_whose_number_cannot_be_has_no_address(
    world: World, me: Caller, project: Project, number: str
) -> None:
    uuid = await world.build(me, project)
    headers = {"Authorization": f"Bearer {await world.started(uuid)}"}
    path = f"/api/builds/{uuid}/logs/{number}?time_ms=1"
    refused = await world.client.post(path, content=b"x", headers=headers)

    assert refused.status_code == 404, refused.text
