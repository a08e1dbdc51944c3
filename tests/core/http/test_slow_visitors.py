"""Visitors who take their time: as much as they like, as long as they go on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from tests.core.http.conftest import LARGE, Heard, place_of

from kedge.http import connection
from kedge.http.server import Limits
from kedge.http.uptake import LEAST

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.core.http.conftest import Place, Visitor

HASTY = Limits(stalled=0.5)
POST = b"POST /%b HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"


@pytest.fixture
async def hasty() -> AsyncIterator[Place]:
    async with place_of(HASTY) as made:
        yield made


async def read_slowly(visitor: Visitor) -> Heard:
    """To the end, over about three seconds."""
    heard = bytearray()
    while part := await asyncio.wait_for(visitor.reader.read(LARGE // 50), 30):
        heard += part
        await asyncio.sleep(0.01)  # a visitor on a slow line
    return Heard(bytes(heard))


async def test_who_stops_in_the_middle_of_his_request_is_told_and_left(hasty: Place) -> None:
    heard = await hasty.ask(POST % (b"", 10) + b"hello")

    assert [status for status, _ in heard.answers] == [408]
    await asyncio.wait_for(hasty.app.left.wait(), 30)


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
async def test_who_says_no_more_gets_his_answers(hasty: Place, version: bytes) -> None:
    async with hasty.visit() as visitor:
        asked = b"GET /slow HTTP/%b\r\nHost: x\r\n\r\n" % version
        visitor.say(asked + b"GET /b HTTP/1.1\r\nHost: x\r\n\r\n" if version == b"1.1" else asked)
        await asyncio.wait_for(hasty.app.arrived.wait(), 30)
        visitor.writer.write_eof()
        await asyncio.sleep(0.5)  # so that whoever is taken for gone is gone
        hasty.app.go_on.set()
        answers = [(200, b"GET /slow "), (200, b"GET /b ")]
        assert (await visitor.rest()).answers == answers[: 2 if version == b"1.1" else 1]


async def test_who_has_gone_is_told_from_one_who_says_no_more(hasty: Place) -> None:
    async with hasty.visit() as visitor:
        visitor.say(b"GET /waits HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.wait_for(hasty.app.arrived.wait(), 30)
    await asyncio.wait_for(hasty.app.left.wait(), 30)


@pytest.mark.parametrize(("size", "status"), [(LEAST, 200), (20, 408)])
async def test_a_request_may_take_its_time_but_not_drip(hasty: Place, size: int, status: int) -> None:
    async with hasty.visit() as visitor:
        visitor.say(POST % (b"", 12 * size))
        for _ in range(12):
            await asyncio.sleep(0.1)  # a visitor on a slow line
            visitor.say(b"x" * size)
        assert [told for told, _ in (await visitor.rest()).answers] == [status]


async def test_time_that_the_application_takes_is_not_the_visitors(hasty: Place) -> None:
    async with hasty.visit() as visitor:
        visitor.say(POST % (b"slow", 5) + b"hello")
        await asyncio.wait_for(hasty.app.arrived.wait(), 30)
        await asyncio.sleep(2 * HASTY.stalled)
        hasty.app.go_on.set()
        assert (await visitor.rest()).answers == [(200, b"POST /slow hello")]


async def test_who_takes_nothing_of_his_answer_is_left(hasty: Place) -> None:
    async with hasty.visit() as visitor:
        visitor.writer.transport.pause_reading()  # type: ignore[attr-defined]
        visitor.say(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.wait_for(hasty.app.ended.wait(), 30)
        visitor.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert len(await asyncio.wait_for(visitor.reader.read(), 30)) < LARGE


async def test_who_takes_his_answer_slowly_gets_all_of_it(hasty: Place) -> None:
    async with hasty.visit() as visitor:
        visitor.say(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        [(status, body)] = (await read_slowly(visitor)).answers
    assert (status, len(body)) == (200, LARGE)


async def test_a_large_answer_that_comes_before_the_body_is_read_to_its_end(
    hasty: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "LINGER_SECONDS", 0.2)
    async with hasty.visit() as visitor:
        visitor.say(POST % (b"early-and-large", 1_000_000))
        [(status, body)] = (await read_slowly(visitor)).answers
    assert (status, len(body)) == (200, LARGE)
