"""Requests and answers through the relay, as they should be and as they should not."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import httptools
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kedge.http.answering import lines
from kedge.http.connection import Connection
from kedge.http.shape import SHAPES
from kedge.http.uptake import LEAST
from kedge.workers.relay.headers import (
    Visitor,
    by_proxy_to_instances,
    request_headers,
    response_headers,
    to_instances,
    to_visitors,
)
from kedge.workers.relay.relay import BodyLate, BodyTooLarge, Bounds

if TYPE_CHECKING:
    from tests.core.workers.conftest import Site
    from tests.core.workers.relay.conftest import Front, Program, Talk

HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
NOBODY = Visitor("192.0.2.1", "https", b"hello.localhost")


class Answer:
    """What a visitor reads: its status, and its body however that is framed."""

    def __init__(self, data: bytes) -> None:
        self.body = b""
        parser = httptools.HttpResponseParser(self)
        parser.feed_data(data)
        self.status = parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        self.body += body


async def ask(site: Site, request: bytes) -> Answer:
    """The whole answer to raw bytes, to the end of the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(request)
    try:
        return Answer(await asyncio.wait_for(reader.read(), 60))
    finally:
        writer.close()


GET = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (HELLO, b"hello"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n",
            b"hello",
        ),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + HELLO, b"hello"),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + HELLO, b"hello"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", b""),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", b""),
    ],
)
async def test_an_answer_comes_through_and_the_connection_is_used_again(
    program: Program, site: Site, answer: bytes, body: bytes
) -> None:
    program.answers(answer)
    for _ in range(3):
        assert (await ask(site, GET)).body == body
    assert len(program.talks) == 1


async def test_an_answer_that_ends_with_its_connection_comes_through(program: Program, site: Site) -> None:
    async def say(talk: Talk) -> None:
        await talk.hear()
        talk.say(b"HTTP/1.0 200 OK\r\n\r\nhello")

    program.say = say
    for _ in range(2):
        assert (await ask(site, GET)).body == b"hello"


async def test_head_has_no_body_and_keeps_the_connection(program: Program, site: Site) -> None:
    program.answers(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", HELLO)
    head = await site.ask(method="HEAD")

    assert (head.status, head.headers["content-length"], head.body) == (200, "5", b"")
    assert (await site.ask()).body == b"hello"
    assert len(program.talks) == 1


async def test_a_body_goes_through_whole_however_it_is_framed(program: Program, site: Site) -> None:
    async def say(talk: Talk) -> None:
        while True:
            if b"chunked" in await talk.hear():
                data = b""
                while size := int(await talk.reader.readline(), 16):
                    data += (await talk.reader.readexactly(size + 2))[:-2]
                await talk.reader.readline()
            else:
                data = await talk.reader.readexactly(500_000)
            talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n%d" % len(data))

    program.say = say
    head = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    whole = await ask(site, head + b"Content-Length: 500000\r\n\r\n" + b"x" * 500_000)
    chunked = await ask(
        site, head + b"Transfer-Encoding: chunked\r\n\r\n" + b"7a120\r\n" + b"x" * 500_000 + b"\r\n0\r\n\r\n"
    )

    assert (whole.body, chunked.body) == (b"500000", b"500000")
    assert len(program.talks) == 1


async def test_a_dead_connection_is_noticed_and_what_is_safe_is_asked_again(
    program: Program, site: Site, front: Front
) -> None:
    async def say(talk: Talk) -> None:
        program.heard.append(await talk.hear())
        talk.say(HELLO)
        program.heard.append(await talk.hear())  # and no word

    program.say = say
    assert (await site.ask()).status == 200
    assert (await site.ask()).status == 200
    assert len(program.heard) == 3

    assert (await site.ask(method="POST", content_length="0")).status == 502
    assert "closed" in str(front.errors[0])


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"", "closed"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "closed"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nBad Name: x\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\n folded: x\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 300 + b"\r\n", "too many headers"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 500_000, "too large"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "transfer coding"),
        (b"HTTP/1.1 000 Nothing\r\nContent-Length: 0\r\n\r\n", "no status"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "protocol"),
    ],
)
async def test_what_is_no_answer_is_told_as_such(
    program: Program, site: Site, front: Front, said: bytes, reason: str
) -> None:
    async def say(talk: Talk) -> None:
        await talk.hear()
        talk.say(said)
        talk.writer.write_eof()
        await talk.reader.read()

    program.say = say
    assert (await site.ask()).status == 502
    assert reason in str(front.errors[0])


async def test_a_program_that_is_not_there_or_says_nothing_is_told(
    program: Program, site: Site, front: Front
) -> None:
    async def say(talk: Talk) -> None:
        await talk.reader.read()

    program.say = say
    assert (await site.ask()).status == 504
    await program.close()
    assert (await site.ask()).status == 502
    assert "cannot be reached" in str(front.errors[1])


async def test_an_answer_that_breaks_off_breaks_off(program: Program, site: Site) -> None:
    async def say(talk: Talk) -> None:
        await talk.hear()
        talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhel")

    program.say = say
    answer = await ask(site, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")

    assert (answer.status, answer.body) == (200, b"hel")


@pytest.mark.parametrize("endless", [b"0\r\nX: ", b"5;a="])
async def test_what_stands_beside_an_answers_body_is_bounded(
    program: Program, site: Site, endless: bytes
) -> None:
    async def say(talk: Talk) -> None:
        await talk.hear()
        talk.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n" + endless)
        while True:  # until nobody listens any more
            talk.say(b"a" * 100_000)
            await talk.writer.drain()

    program.say = say
    answer = await ask(site, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")

    assert answer.body == b"hel"


async def test_what_nobody_asked_for_never_becomes_an_answer(program: Program, site: Site) -> None:
    async def say(talk: Talk) -> None:
        await talk.hear()
        talk.say(HELLO + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
        await talk.reader.read()

    program.say = say
    for _ in range(3):
        assert (await ask(site, GET)).body == b"hello"


@pytest.mark.parametrize(("status", "length"), [(200, "0"), (204, None)])
async def test_an_answer_counts_whatever_is_said_behind_it(
    program: Program, site: Site, front: Front, status: int, length: str | None
) -> None:
    program.answers(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\nmore" % (status, 0 if length else 4))

    answer = await site.ask()

    assert (answer.status, answer.body) == (status, b"")
    assert answer.headers.get("content-length") == length
    assert front.errors == []


async def test_parts_come_as_they_are_said(program: Program, site: Site) -> None:
    go_on = asyncio.Event()

    async def say(talk: Talk) -> None:
        await talk.hear()
        talk.say(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: one\n\n")
        await go_on.wait()
        talk.say(b"data: two\n\n")

    program.say = say
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n")
    await asyncio.wait_for(reader.readuntil(b"data: one\n\n"), 60)
    go_on.set()
    await asyncio.wait_for(reader.readuntil(b"data: two\n\n"), 60)
    writer.close()


async def test_a_visitor_who_leaves_ends_the_work(program: Program, site: Site) -> None:
    asked = asyncio.Event()

    async def say(talk: Talk) -> None:
        await talk.hear()
        asked.set()
        await talk.reader.read()

    program.say = say
    _, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await asked.wait()
    writer.transport.abort()

    await asyncio.wait_for(program.gone.wait(), 60)


async def test_a_slow_visitor_slows_the_program_down(program: Program, site: Site) -> None:
    said = 0

    async def say(talk: Talk) -> None:
        nonlocal said
        await talk.hear()
        talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while True:
            talk.say(b"x" * 65536)
            await talk.writer.drain()
            said += 65536

    program.say = say
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port, limit=4096)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readexactly(1000)
    before = -1
    while said != before:
        before = said
        await asyncio.sleep(0.2)
    assert said < 50_000_000
    writer.transport.abort()


async def test_a_body_past_the_limit_is_refused_however_it_is_framed(
    program: Program, site: Site, front: Front
) -> None:
    async def say(talk: Talk) -> None:
        await talk.reader.read()

    program.say = say
    head = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    known = await ask(site, head + b"Content-Length: 2000000\r\n\r\n")
    assert known.status == 413
    front.refused.clear()

    _, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(head + b"Transfer-Encoding: chunked\r\n\r\n1e8480\r\n" + b"x" * 2_000_000)
    await asyncio.wait_for(front.refused.wait(), 60)
    writer.close()
    assert [type(error) for error in front.errors] == [BodyTooLarge, BodyTooLarge]


FORGED = [
    (b"cf-connecting-ip", b"6.6.6.6"),
    (b"CF_Connecting_IP".lower(), b"6.6.6.6"),
    (b"cf-ipcountry", b"AT"),
    (b"true-client-ip", b"6.6.6.6"),
    (b"x-client-ip", b"6.6.6.6"),
    (b"x-forwarded-port", b"1"),
    (b"x-original-url", b"/admin"),
    (b"x-rewrite-url", b"/admin"),
    (b"proxy", b"http://6.6.6.6"),
]


def test_what_only_a_proxy_may_say_goes_through_if_it_is_trusted_but_not_who_asks() -> None:
    told = dict(request_headers(FORGED, NOBODY._replace(believed=True), b"id-1"))
    assert (told[b"cf-ipcountry"], told[b"x-forwarded-port"]) == (b"AT", b"1")
    assert told[b"cf-connecting-ip"] == b"192.0.2.1"
    assert not {b"cf_connecting_ip", b"proxy"} & set(told)


def test_what_concerns_one_connection_and_what_only_kedge_may_say_is_left_out() -> None:
    told = request_headers(
        [
            (b"host", b"hello.localhost"),
            (b"connection", b"keep-alive, X-Secret, content-length"),
            (b"x-secret", b"1"),
            (b"content-length", b"3"),
            (b"te", b"trailers"),
            (b"expect", b"100-continue"),
            (b"forwarded", b"for=6.6.6.6"),
            (b"x-forwarded-for", b"6.6.6.6"),
            (b"x-request-id", b"mine"),
            (b"kedge-location", b"there"),
            (b"kedge_location", b"there"),
            (b"x_real_ip", b"6.6.6.6"),
            (b"accept", b"*/*"),
            *FORGED,
        ],
        NOBODY,
        b"id-1",
    )

    assert told == [
        (b"host", b"hello.localhost"),
        (b"content-length", b"3"),
        (b"accept", b"*/*"),
        (b"x-forwarded-for", b"192.0.2.1"),
        (b"x-forwarded-proto", b"https"),
        (b"x-forwarded-host", b"hello.localhost"),
        (b"x-real-ip", b"192.0.2.1"),
        (b"cf-connecting-ip", b"192.0.2.1"),
        (b"cf-visitor", b'{"scheme":"https"}'),
        (b"x-request-id", b"id-1"),
    ]
    answer = [
        (b"connection", b"close, x-hop"),
        (b"x-hop", b"1"),
        (b"kedge-wait-until", b"3"),
        (b"date", b"Sun, 06 Nov 1994 08:49:37 GMT"),
        (b"cf-placement", b"remote-nowhere"),
        (b"etag", b"1"),
    ]
    assert response_headers(answer) == [(b"etag", b"1")]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                [b"Host", b"CF-Ray", b"Connection", b"x-%b", b"X-%", b"Kedge_Calls", b"Date", b"TE", b"a"]
            ),
            st.sampled_from([b"", b"1", b"%s", b"close", b"Keep-Alive", b"x-%, host", b"A, content-length"]),
        ),
        max_size=8,
    )
)
def test_the_lines_of_a_head_are_the_headers_that_go_through(said: list[tuple[bytes, bytes]]) -> None:
    shape = SHAPES[tuple(name for name, _ in said)]
    headers = [(name.lower(), value) for name, value in said]
    values = [value for _, value in said]

    assert shape is SHAPES[tuple(name for name, _ in said)]
    assert lines(response_headers(headers)) == shape[to_visitors].lines(values)
    for believed, question in ((False, to_instances), (True, by_proxy_to_instances)):
        told = request_headers(headers, NOBODY._replace(believed=believed), b"id-1")[:-7]
        assert lines(told) == shape[question].lines(values)


@given(data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_however_an_answer_is_cut_it_is_the_same(
    program: Program, front: Front, site: Site, data: st.DataObject
) -> None:
    body = data.draw(st.binary(max_size=400))
    chunks = data.draw(st.lists(st.integers(1, 100), max_size=10))
    chunked = data.draw(st.booleans())
    if chunked:
        left, message = body, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        for size in chunks:
            part, left = left[:size], left[size:]
            message += b"%x\r\n%b\r\n" % (len(part), part) if part else b""
        message += b"%x\r\n%b\r\n0\r\n\r\n" % (len(left), left) if left else b"0\r\n\r\n"
    else:
        message = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(message)), max_size=6)))

    async def say(talk: Talk) -> None:
        await talk.hear()
        for start, end in zip([0, *cuts], [*cuts, len(message)], strict=True):
            talk.say(message[start:end])
            await talk.writer.drain()
            await asyncio.sleep(0)
        await talk.reader.read()

    program.say = say
    answer = await ask(site, GET)
    front.relay.close()
    assert (answer.status, answer.body) == (200, body)


async def test_a_slow_program_slows_the_visitor_down(program: Program, site: Site, front: Front) -> None:
    front.relay.bounds = Bounds(first_byte=60.0, idle=60.0, body=1 << 40)
    asked, over, sent = asyncio.Event(), asyncio.Event(), 0

    async def say(talk: Talk) -> None:
        await talk.hear()
        talk.writer.transport.pause_reading()  # type: ignore[attr-defined]
        asked.set()
        await over.wait()

    async def send(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()
            sent += 65536

    program.say = say
    _, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
    await asyncio.wait_for(asked.wait(), 20)
    sending = asyncio.create_task(send(writer))
    before = -1
    while sent != before:
        before = sent
        await asyncio.sleep(0.2)
    assert 0 < sent < 50_000_000
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    writer.transport.abort()
    over.set()


async def test_who_stops_in_the_middle_of_his_request_is_told(
    program: Program, site: Site, front: Front
) -> None:
    front.relay.bounds = Bounds(first_byte=0.2, idle=60.0)

    async def say(talk: Talk) -> None:
        await talk.reader.read()

    program.say = say
    answer = await ask(site, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhello")
    assert answer.status == 408
    assert [type(error) for error in front.errors] == [BodyLate]


@pytest.mark.parametrize(("size", "status"), [(LEAST, 200), (10, 408)])
async def test_the_time_for_an_answer_runs_from_the_last_kilobyte_that_was_sent(
    program: Program, site: Site, front: Front, size: int, status: int
) -> None:
    front.relay.bounds = Bounds(first_byte=2.5, idle=60.0)

    async def say(talk: Talk) -> None:
        await talk.hear()
        await talk.reader.readexactly(10 * size)
        talk.say(HELLO)

    program.say = say
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    head = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    writer.write(head % (10 * size))
    for _ in range(10):
        await asyncio.sleep(0.3)  # a visitor on a slow line
        writer.write(b"x" * size)
    answer = Answer(await asyncio.wait_for(reader.read(), 20))
    writer.close()
    assert answer.status == status


async def test_what_stands_behind_a_body_is_no_header_of_the_next_answer(
    program: Program, site: Site
) -> None:
    program.answers(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Evil: 1\r\n\r\n", HELLO
    )
    assert (await ask(site, GET)).body == b"hello"
    second = await site.ask()

    assert "x-evil" not in second.headers
    assert len(program.talks) == 1


async def test_several_requests_at_once_are_answered_in_their_order(program: Program, site: Site) -> None:
    async def say(talk: Talk) -> None:
        while True:
            target = (await talk.hear()).split()[1]
            talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(target), target))

    program.say = say
    said = [b"GET /%d HTTP/1.1\r\nHost: x\r\n" % number for number in range(5)]
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(b"\r\n".join(said) + b"\r\nGET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    data = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    places = [data.index(b"\r\n\r\n/" + name) for name in (b"0", b"1", b"2", b"3", b"4", b"last")]
    assert places == sorted(places)


async def test_a_slow_visitor_leaves_a_connection_that_is_quick(
    program: Program, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(connection: Connection, transport: asyncio.BaseTransport) -> None:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        come(connection, transport)

    come = Connection.connection_made
    monkeypatch.setattr(Connection, "connection_made", made)
    monkeypatch.setattr("kedge.http.connection.HIGH_WATER", 1)
    body = b"x" * 60_000
    program.answers(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body), HELLO)
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.connect(("127.0.0.1", site.port))
    reader, writer = await asyncio.open_connection(sock=slow, limit=4096)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    assert await reader.readexactly(len(body)) == body

    assert (await ask(site, GET)).body == b"hello"
    writer.close()
    assert len(program.talks) == 1
