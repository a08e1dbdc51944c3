"""Who waits for whom when git has much to do."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx
import pytest

from kedge import Principal
from kedge_git.calls import Refused
from kedge_git.slots import Slots

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from tests.plugins.git.conftest import Hosted

ADA, BOB, CLEO, DAN, EVE = (
    Principal(account_id="id", account_name="default", token_name=name)
    for name in ("ada", "bob", "cleo", "dan", "eve")
)
INFO = "/git/default/hello.git/info/refs?service="


@asynccontextmanager
async def stalled(hosted: Hosted, service: str, *, token: str) -> AsyncIterator[None]:
    """A call that git waits for the rest of."""
    host, port = hosted.host.public_url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"POST /git/default/hello.git/{service} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Length: 1000\r\nContent-Type: application/x-{service}-request\r\n"
        "Expect: 100-continue\r\n\r\n".encode()
    )
    assert (await reader.readline()).startswith(b"HTTP/1.1 100 ")  # the body is asked for: git runs
    try:
        yield
    finally:
        writer.close()


async def info(hosted: Hosted, token: str, service: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=hosted.host.public_url, timeout=60) as client:
        return await client.get(f"{INFO}{service}", headers={"authorization": f"Bearer {token}"})


@pytest.mark.parametrize("service", ["git-upload-pack", "git-receive-pack"])
async def test_who_stalls_holds_up_neither_others_nor_itself_for_ever(
    host_git: Callable[..., AbstractAsyncContextManager[Hosted]], service: str
) -> None:
    async with host_git(concurrency=2, pushes=2, slot_within=0.2) as hosted:
        hosted.host.tokens["bob"] = BOB
        tree = await hosted.new_tree()
        await tree.commit("first")
        async with stalled(hosted, service, token="bob"):
            await tree.git("push", "-q", "origin", "main")
            await tree.git("ls-remote", "origin")
            refused = await info(hosted, "bob", service)

    assert (refused.status_code, refused.headers["retry-after"]) == (503, "10")


async def test_one_caller_has_half_of_the_slots_at_most() -> None:
    slots = Slots(4, within=0.05)
    mine = [await slots.take(ADA) for _ in range(2)]

    with pytest.raises(Refused) as refused:
        await slots.take(ADA)
    theirs = [await slots.take(caller) for caller in (BOB, CLEO)]
    with pytest.raises(Refused):
        await slots.take(BOB)

    assert (refused.value.status, refused.value.headers) == (503, {"Retry-After": "10"})
    for slot in [*mine, *theirs]:
        slot.close()
    (await slots.take(ADA)).close()


async def test_who_waits_gets_the_slot_that_is_given_back() -> None:
    slots = Slots(1, within=60)

    async def pass_through(caller: Principal) -> None:
        (await slots.take(caller)).close()

    first = await slots.take(ADA)
    waiting = [asyncio.create_task(pass_through(caller)) for caller in (ADA, BOB, ADA, CLEO)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)

    first.close()
    await asyncio.gather(*waiting)


@pytest.mark.parametrize("callers", [[ADA] * 5, [ADA, BOB, CLEO, DAN, EVE]])
async def test_a_line_has_an_end(callers: list[Principal]) -> None:
    """The fifth call for one slot is refused without a wait, whoever makes it."""
    slots = Slots(1, within=60)
    calls = [asyncio.create_task(slots.take(caller)) for caller in callers[:4]]
    await asyncio.sleep(0)

    with pytest.raises(Refused):
        await slots.take(callers[4])

    for call in calls:
        (await call).close()
    (await slots.take(callers[4])).close()


async def test_who_is_cancelled_while_waiting_leaves_nothing_taken() -> None:
    slots = Slots(1, within=60)
    for _ in range(8):
        held = await slots.take(ADA)
        waiting = asyncio.create_task(slots.take(BOB))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        held.close()

    (await slots.take(CLEO)).close()
