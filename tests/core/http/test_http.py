"""Requests as they should be, and as they should not: said byte for byte, over real sockets."""

from __future__ import annotations

import asyncio
from email.utils import parsedate_to_datetime
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.core.http.conftest import place_of

from kedge.http.server import Limits

if TYPE_CHECKING:
    from tests.core.http.conftest import Place

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        # for whom, or how long, two programs could read in two ways
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x y\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x/y\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: u@x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x, y\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: \xfc\r\n\r\n", 400),
        (HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
        (HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400),
        (HEAD + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400),
        (HEAD + b"Content-Length: 5, 5\r\n\r\nhello", 400),
        (HEAD + b"Content-Length: +5\r\n\r\nhello", 400),
        (HEAD + b"Content-Length: 0x5\r\n\r\nhello", 400),
        (HEAD + b"Content-Length: -5\r\n\r\nhello", 400),
        (HEAD + b"Content-Length: 99999999999999999999999\r\n\r\nhello", 400),
        (HEAD + b"Content-Length : 5\r\n\r\nhello", 400),
        (HEAD + b"Content-Length:\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501),
        (HEAD + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        # lines
        (b"GET / HTTP/1.1\nHost: x\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA b: c\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\n: c\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n Host: x\r\n\r\n", 400),
        # targets, methods, versions
        (b"GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET a HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET * HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET http://y/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET ftp://x/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\nrest", 405),
        (b"FOO / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"get / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.2\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
        (b"GET /\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nExpect: the-worst\r\n\r\n", 417),
        # too much
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 5000 + b"\r\n\r\n", 431),
        (b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A:b\r\n" * 250 + b"\r\n", 431),
    ],
)
async def test_what_could_be_read_in_two_ways_is_refused(place: Place, request_: bytes, status: int) -> None:
    heard = await place.ask(request_ + LAST)

    assert [told for told, _ in heard.answers] == [status]
    assert heard.headers["connection"] == "close"
    assert place.app.asked == []


@pytest.mark.parametrize(
    ("chunks", "fine"),
    [
        (b"5\r\nhello\r\n0\r\n\r\n", True),
        (b"5;a=b\r\nhello\r\n0\r\nHost: y\r\nX-Secret: 3\r\n\r\n", True),
        (b"5\r\nhello\r\n0\r\nContent-Length: 3\r\n\r\n", False),
        (b"5\nhello\r\n0\r\n\r\n", False),
        (b"5;a=\n\r\nhello\r\n0\r\n\r\n", False),
        (b" 5\r\nhello\r\n0\r\n\r\n", False),
        (b"5\r\nhelloXX0\r\n\r\n", False),
        (b"-5\r\nhello\r\n0\r\n\r\n", False),
        (b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n", False),
        (b"5\r\nhello\r\nzz\r\n\r\n", False),
    ],
)
async def test_chunks_are_read_strictly_and_what_stands_behind_them_is_no_header(
    place: Place, chunks: bytes, *, fine: bool
) -> None:
    heard = await place.ask(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + LAST)

    if fine:
        assert heard.answers == [(200, b"POST / hello"), (200, b"GET /last ")]
        assert dict(place.app.headers[0]) == {b"host": b"x", b"transfer-encoding": b"chunked"}
    else:
        assert [status for status, _ in heard.answers] == [400]
        assert place.app.asked == []


@pytest.mark.parametrize("endless", [b"5;a=", b"0\r\nX: "])
async def test_what_stands_beside_a_body_is_bounded(place: Place, endless: bytes) -> None:
    async with place.visit() as visitor:
        visitor.say(HEAD + b"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n")
        await asyncio.wait_for(visitor.reader.readuntil(b"100 Continue\r\n\r\n"), 30)
        visitor.say(endless + b"a" * 5000)
        heard = await visitor.rest()

    assert [told for told, _ in heard.answers] == [400]
    assert place.app.asked == []


async def test_an_error_waits_until_what_came_before_it_is_answered(place: Place) -> None:
    async with place.visit() as visitor:
        visitor.say(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\nNONSENSE\r\n\r\n")
        await asyncio.wait_for(place.app.arrived.wait(), 30)
        place.app.go_on.set()
        heard = await visitor.rest()

    assert heard.answers[0] == (200, b"GET /slow ")
    assert [status for status, _ in heard.answers] == [200, 400]


async def test_a_broken_body_is_answered_once_and_nothing_follows(place: Place) -> None:
    heard = await place.ask(
        b"GET /one HTTP/1.1\r\nHost: x\r\n\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz"
    )

    assert [status for status, _ in heard.answers] == [200, 400]


@pytest.mark.parametrize("offer", [b"h2c", b"HTTP/3.0", b"websocket, h2c"], ids=["h2c", "another", "several"])
async def test_an_offer_to_speak_something_else_is_not_taken_and_hides_no_body(
    place: Place, offer: bytes
) -> None:
    asked = (
        HEAD + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: " + offer + b"\r\nHTTP2-Settings: AAM\r\n"
        b"X-Empty:\r\nContent-Length: 5\r\n\r\nhello"
    )
    heard = await place.ask(asked + LAST)

    assert heard.answers == [(200, b"POST / hello"), (200, b"GET /last ")]
    assert dict(place.app.headers[0]) == {b"host": b"x", b"x-empty": b"", b"content-length": b"5"}


async def test_an_absolute_target_counts_if_it_names_the_same_host(place: Place) -> None:
    heard = await place.ask(b"GET http://X?a=b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert heard.answers == [(200, b"GET / ")]


async def test_a_head_has_to_come_in_time(place: Place) -> None:
    async with place_of(Limits(head_within=0.2)) as hasty:
        heard = await hasty.ask(b"GET / HTTP/1.1\r\nHost: x\r\nA: ")
        assert [status for status, _ in heard.answers] == [408]
        assert (await hasty.ask(b"")).answers == []


@pytest.mark.parametrize(
    "wish", [b"", b"Connection: keep-alive\r\n", b"Proxy-Connection: keep-alive\r\n"], ids=repr
)
async def test_a_visitor_of_old_gets_no_chunks_and_one_answer(place: Place, wish: bytes) -> None:
    async with place.visit() as visitor:
        visitor.say(b"GET /unsized HTTP/1.0\r\n" + wish + b"\r\n" + LAST)
        told = await asyncio.wait_for(visitor.reader.read(), 30)

    head, _, body = told.partition(b"\r\n\r\n")
    assert b"chunked" not in head.lower()
    assert body == b"GET /unsized "


async def test_who_waits_to_send_is_told_to_go_on(place: Place) -> None:
    async with place.visit() as visitor:
        visitor.say(HEAD + b"Expect: 100-continue\r\nContent-Length: 5\r\nConnection: close\r\n\r\n")
        told = await asyncio.wait_for(visitor.reader.readuntil(b"\r\n\r\n"), 30)
        assert told == b"HTTP/1.1 100 Continue\r\n\r\n"
        visitor.say(b"hello")
        assert (await visitor.rest()).answers == [(200, b"POST / hello")]


async def test_an_answer_that_comes_before_the_body_is_the_last_and_can_be_read(place: Place) -> None:
    async with place.visit() as visitor:
        visitor.say(b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
        heard = await visitor.rest()

    assert heard.answers == [(200, b"POST /early ")]
    assert heard.headers["connection"] == "close"


async def test_who_leaves_in_the_middle_of_his_request_is_noticed(place: Place) -> None:
    async with place.visit() as visitor:
        visitor.say(HEAD + b"Content-Length: 5\r\n\r\nhe")
        await visitor.writer.drain()
        visitor.writer.close()
        await asyncio.wait_for(place.app.left.wait(), 30)


async def test_many_requests_at_once_are_bounded(place: Place) -> None:
    heard = await place.ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 300)

    assert [status for status, _ in heard.answers] == [200] * 129 + [429]


@pytest.mark.parametrize(
    ("limits", "second"),
    [
        (Limits(connections=1), 503),
        (Limits(connections_of_one=1), 503),
        (Limits(connections_of_one=1, proxies=(ip_network("127.0.0.0/8"),)), 200),
    ],
)
async def test_there_is_room_for_so_many_connections(limits: Limits, second: int) -> None:
    async with place_of(limits) as place, place.visit() as first:
        first.say(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.wait_for(place.app.arrived.wait(), 30)
        assert [status for status, _ in (await place.ask(LAST)).answers] == [second]

        first.say(LAST)
        assert [status for status, _ in (await first.rest()).answers] == [200, 200]
        assert [status for status, _ in (await place.ask(LAST)).answers] == [200]


async def test_the_date_is_of_the_second_of_the_answer(place: Place) -> None:
    first = now = (await place.ask(LAST)).headers["date"]
    async with asyncio.timeout(30):
        while now == first:
            now = (await place.ask(LAST)).headers["date"]
    assert parsedate_to_datetime(now) > parsedate_to_datetime(first)


REQUESTS = st.lists(
    st.one_of(
        st.just((b"GET", b"/a?b=c", None)),
        st.tuples(st.just(b"POST"), st.just(b"/b"), st.binary(max_size=300)),
        st.just((b"DELETE", b"/%C3%BC", b"")),
    ),
    min_size=1,
    max_size=6,
)


@given(asked=REQUESTS, data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_requests_that_follow_each_other_are_read_however_they_are_cut(
    place: Place, asked: list[tuple[bytes, bytes, bytes | None]], data: st.DataObject
) -> None:
    said, expected = b"", []
    for method, target, body in asked:
        said += b"%b %b HTTP/1.1\r\nHost: x\r\n" % (method, target)
        if body is None:
            said += b"\r\n"
        elif data.draw(st.booleans()):
            said += b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        else:
            part = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            said += b"Transfer-Encoding: chunked\r\n\r\n%b0\r\n\r\n" % part
        expected.append((200, b"%b %b %b" % (method, target.partition(b"?")[0], body or b"")))
    said += LAST
    cuts = sorted(data.draw(st.lists(st.integers(0, len(said)), max_size=8)))
    async with place.visit() as visitor:
        for start, end in zip([0, *cuts], [*cuts, len(said)], strict=True):
            visitor.say(said[start:end])
            await asyncio.sleep(0)
        heard = await visitor.rest()

    assert heard.answers == [*expected, (200, b"GET /last ")]
