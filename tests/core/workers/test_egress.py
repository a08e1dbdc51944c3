"""The proxy through which workers ask others, with real clients and real targets."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING

import httpx
import pytest

from kedge.testing.delay_proxy import DelayProxy
from kedge.workers.egress.ledger import Call, Ledger, pack, unpack
from kedge.workers.egress.own_addresses import is_own
from kedge.workers.egress.proxy import EgressProxy
from kedge.workers.egress.targets import NotAllowed, Targets
from kedge.workers.relay import end

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A back end of HTTP/1.1 that keeps connections open."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            body = head.partition(b"\r\n")[0]
            if b"Content-Length: 5" in head or b"content-length: 5" in head:
                body += b" " + await reader.readexactly(5)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@asynccontextmanager
async def back_end() -> AsyncIterator[str]:
    tasks: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        await answer(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    await asyncio.gather(*[task for task in tasks if task])


@asynccontextmanager
async def egress(connect_to: dict[str, str]) -> AsyncIterator[EgressProxy]:
    proxy = EgressProxy(Ledger(), Targets(connect_to=connect_to))
    await proxy.open()
    yield proxy
    await proxy.close()


@asynccontextmanager
async def client(proxy: EgressProxy) -> AsyncIterator[httpx.AsyncClient]:
    url = proxy.environment("i1")["HTTPS_PROXY"]
    async with httpx.AsyncClient(proxy=url, trust_env=False) as made:
        yield made


async def test_plain_requests_are_passed_on_and_measured() -> None:
    async with (
        back_end() as address,
        DelayProxy(address, delay=0.01) as far,
        egress({"data.test:80": far.address}) as proxy,
        client(proxy) as asking,
    ):
        invocation = proxy.ledger.begin("i1")
        assert (await asking.get("http://data.test/one?x=1")).text == "GET /one?x=1 HTTP/1.1"
        assert (
            await asking.post("http://data.test/two", content=b"hello")
        ).text == "POST /two HTTP/1.1 hello"

        groups = invocation.groups()
        assert groups is not None
        assert [[call.host for call in group] for group in groups] == [["data.test:80"]] * 2
        assert all(call.duration_ms > 19 for group in groups for call in group)


async def test_a_line_is_measured_by_its_questions_and_answers() -> None:
    async with (
        back_end() as address,
        egress({"data.test:5432": address}) as proxy,
    ):
        invocation = proxy.ledger.begin("i1")
        reader, writer = await asyncio.open_connection(*proxy.address.split(":"))
        token = httpx.BasicAuth("i1", proxy.ledger.admit("i1"))._auth_header
        writer.write(f"CONNECT data.test:5432 HTTP/1.1\r\nProxy-Authorization: {token}\r\n\r\n".encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        for _ in range(3):
            writer.write(b"GET / HTTP/1.1\r\n")
            await asyncio.sleep(0)
            writer.write(b"\r\n")
            await reader.readuntil(b"GET / HTTP/1.1")
        writer.close()
        await writer.wait_closed()

        groups = invocation.groups()
        assert groups is not None
        # the connect counts with the first of the three questions
        assert [[(call.host, call.rounds) for call in group] for group in groups] == [
            [("data.test:5432", 2)],
            [("data.test:5432", 1)],
            [("data.test:5432", 1)],
        ]


async def test_whoever_has_no_credentials_is_let_nowhere() -> None:
    async with back_end() as address, egress({"data.test:80": address}) as proxy:
        token = proxy.ledger.admit("i1")
        for who in ("", "i1:wrong@", f"i2:{token}@"):
            async with httpx.AsyncClient(proxy=f"http://{who}{proxy.address}", trust_env=False) as asking:
                assert (await asking.get("http://data.test/")).status_code == 407
                with pytest.raises(httpx.ProxyError, match="407"):
                    await asking.get("https://data.test/")
        proxy.ledger.expel("i1")
        async with httpx.AsyncClient(proxy=f"http://i1:{token}@{proxy.address}", trust_env=False) as asking:
            assert (await asking.get("http://data.test/")).status_code == 407


@pytest.mark.parametrize(
    "target",
    [
        "127.0.0.1:80",
        "localhost:80",
        "[::1]:80",
        "169.254.169.254:80",
        "0.0.0.0:80",
        "[fd00:ec2::254]:80",
        "[::ffff:127.0.0.1]:80",
        "224.0.0.1:80",
        "0.1.2.3:80",
        "192.0.0.192:80",
        "100.100.100.200:80",
        "[fd20:ce::254]:80",
        "[fd00:ec2::23]:80",
        "[64:ff9b::a9fe:a9fe]:80",
        "[2002:7f00:1::]:80",
        "127.200.3.4:80",
    ],
)
async def test_this_machine_and_metadata_services_are_out_of_reach(target: str) -> None:
    host, _, port = target.rpartition(":")
    with pytest.raises(NotAllowed, match=r"name it in egress\.allow"):
        await Targets().resolve(host.strip("[]"), int(port))
    async with egress({}) as proxy, client(proxy) as asking:
        # 400: uvicorn takes no IPv6 address in the target of a request
        assert (await asking.get(f"http://{target}/")).status_code in {400, 403}


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
async def test_no_address_of_this_machine_is_reached(family: socket.AddressFamily) -> None:
    """Not the one in its network either, at which other services of the machine listen."""
    own = own_address(family)
    with pytest.raises(NotAllowed, match=r"name it in egress\.allow"):
        await Targets().resolve(own, 80)
    with pytest.raises(NotAllowed):
        await Targets(frozenset({f"{own}:80"})).resolve(own, 81)

    (shown,) = [await Targets(frozenset({f"{own}:80"})).resolve(own, 80)]
    assert shown in {f"{own}:80", f"[{own}]:80"}


def own_address(family: socket.AddressFamily) -> str:
    """The address from which this machine asks others."""
    far = "192.0.2.77" if family is socket.AF_INET else "2001:db8::77"
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect((far, 9))
        except OSError:
            pytest.skip("this machine has no way to others")
        return str(asking.getsockname()[0])


@pytest.mark.parametrize(
    ("address", "own"),
    [
        ("127.0.0.1", True),
        ("127.200.3.4", True),
        ("255.255.255.255", True),
        ("::1", True),
        ("198.51.100.7", False),
        ("2001:db8::7", False),
    ],
)
def test_the_kernel_tells_which_addresses_are_its_own(address: str, *, own: bool) -> None:
    assert is_own(ip_address(address)) is own


async def test_a_name_is_reached_whose_address_config_allows() -> None:
    assert await Targets(frozenset({"127.0.0.1:5432", "[::1]:5432"})).resolve("localhost", 5432) in {
        "127.0.0.1:5432",
        "[::1]:5432",
    }


async def test_what_config_allows_is_reached() -> None:
    assert await Targets(frozenset({"localhost:5432"})).resolve("localhost", 5432) in {
        "127.0.0.1:5432",
        "[::1]:5432",
    }
    assert await Targets(frozenset({"127.0.0.1:*"})).resolve("127.0.0.1", 9) == "127.0.0.1:9"
    assert await Targets().resolve("192.0.2.7", 443) == "192.0.2.7:443"
    assert await Targets().resolve("10.1.2.3", 5432) == "10.1.2.3:5432"
    # as names of IPv4 are told where there is IPv6 alone
    assert await Targets().resolve("64:ff9b::c633:6407", 443) == "[64:ff9b::c633:6407]:443"


async def test_a_target_that_is_not_there_is_told() -> None:
    async with egress({"data.test:80": "127.0.0.1:1"}) as proxy, client(proxy) as asking:
        answer = await asking.get("http://data.test/")
        assert answer.status_code == 502
        assert "cannot be reached" in answer.text
        assert (await asking.get("http://no-such-host.invalid/")).status_code == 502


def test_calls_of_requests_that_ran_side_by_side_are_nobodys() -> None:
    ledger = Ledger()
    ledger.admit("i1")
    first = ledger.begin("i1")
    ledger.note("i1", "a:1", 0.0)
    second = ledger.begin("i1")
    ledger.note("i1", "b:1", 0.0)
    first.end()
    ledger.note("i1", "c:1", 0.0)

    assert (first.groups(), second.groups()) == (None, None)
    third = ledger.begin("i1")
    assert third.groups() is None
    second.end()
    third.end()
    assert ledger.begin("i1").groups() == []


def test_calls_that_overlap_stand_together_and_survive_packing() -> None:
    invocation = Ledger().begin("i1")
    invocation.calls += [Call("b:1", 1.5, 3.0), Call("a:1", 1.0, 2.0), Call("c:1", 3.0, 3.5)]
    groups = invocation.groups()
    assert groups is not None
    assert [[call.host for call in group] for group in groups] == [["a:1", "b:1"], ["c:1"]]
    assert unpack(pack(groups)) == groups
    for rubbish in (None, 3, "x", [[["a"]]], [[["a", "b"]]], {"a": 1}):
        assert unpack(rubbish) in (None, [])


async def test_a_line_whose_asker_has_closed_ends_though_the_other_side_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(end, "HALF_OPEN_SECONDS", 0.05)
    tasks: list[asyncio.Task[None] | None] = []
    over = asyncio.Event()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.current_task())
        await over.wait()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(wait, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with egress({"data.test:5432": address}) as proxy:
        reader, writer = await asyncio.open_connection(*proxy.address.split(":"))
        token = httpx.BasicAuth("i1", proxy.ledger.admit("i1"))._auth_header
        writer.write(f"CONNECT data.test:5432 HTTP/1.1\r\nProxy-Authorization: {token}\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), 60) == b""
        writer.close()
        await writer.wait_closed()
    server.close()
    over.set()
    await asyncio.gather(*[task for task in tasks if task])
