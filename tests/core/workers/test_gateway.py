from __future__ import annotations

import asyncio
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from tests.core.workers.conftest import Ears

from kedge.workers import sites
from kedge.workers.gateway import Gateway
from kedge.workers.manifest import file_key

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kedge.db.engine import Database

PAGE = b"<h1>Hello</h1>"
BIG = bytes(range(256)) * 4096 * 3
FILES = {
    "index.html": PAGE,
    "about.html": b"about",
    "docs/index.html": b"docs",
    "app.JS": b"let x",
    "empty.txt": b"",
    "big.bin": BIG,
    "404.html": b"lost",
    "a b/\u00fc?.txt": b"odd",
}


def tag(content: bytes) -> str:
    return f'"{sha256(content).hexdigest()}"'


@pytest.fixture
async def live(platform: Any) -> Any:
    return await platform.upload(FILES)


@pytest.mark.parametrize(
    ("host", "served"),
    [
        ("hello.localhost", True),
        ("hello.localhost:8787", True),
        ("HELLO.LocalHost.:80", True),
        ("a.b.localhost", True),
        ("localhost", False),
        ("127.0.0.1:8787", False),
        ("[::1]:8787", False),
        ("localhost.example.com", False),
        ("notlocalhost", False),
        ("", False),
    ],
)
async def test_only_hosts_below_the_domain_are_the_gateways(
    platform: Any,
    host: str,
    served: bool,  # noqa: FBT001  (parametrized)
) -> None:
    assert platform.gateway.serves(host) is served


async def test_the_page_comes_with_its_headers(site: Any, live: Any) -> None:
    answer = await site.ask("/")

    assert (answer.status, answer.body) == (200, PAGE)
    expected = {
        "content-type": "text/html; charset=utf-8",
        "content-length": str(len(PAGE)),
        "etag": tag(PAGE),
        "cache-control": "public, max-age=0, must-revalidate",
        "accept-ranges": "bytes",
        "x-content-type-options": "nosniff",
    }
    assert expected.items() <= answer.headers.items()


@pytest.mark.parametrize(
    ("path", "body", "content_type"),
    [
        ("/about", b"about", "text/html; charset=utf-8"),
        ("/docs/?q=1", b"docs", "text/html; charset=utf-8"),
        ("/app.JS", b"let x", "text/javascript; charset=utf-8"),
        ("/empty.txt", b"", "text/plain; charset=utf-8"),
        ("/a%20b/%C3%BC%3F.txt", b"odd", "text/plain; charset=utf-8"),
        ("/big.bin", BIG, "application/octet-stream"),
    ],
)
async def test_every_file_comes_whole_with_its_type(
    site: Any, live: Any, path: str, body: bytes, content_type: str
) -> None:
    for _ in range(2):
        answer = await site.ask(path)
        assert (answer.status, answer.body) == (200, body)
        assert answer.headers["content-type"] == content_type


async def test_a_folder_without_its_slash_is_sent_on_with_its_query(site: Any, live: Any) -> None:
    answer = await site.ask("/docs?a=b&c=%20")

    assert (answer.status, answer.headers["location"]) == (307, "/docs/?a=b&c=%20")


async def test_what_is_not_there_gets_the_versions_own_page(site: Any, live: Any) -> None:
    answer = await site.ask("/nothing")

    assert (answer.status, answer.body) == (404, b"lost")
    assert "etag" not in answer.headers


async def test_without_one_a_plain_page_will_do(site: Any, platform: Any) -> None:
    await platform.upload({"x": b"x"})

    assert (await site.ask("/")).status == 404


@pytest.mark.parametrize("path", ["/../etc/passwd", "/%2e%2e/x", "/a%00b", "/a%5cb", "/%ff"])
async def test_a_hostile_path_is_refused(site: Any, live: Any, path: str) -> None:
    assert (await site.ask(path)).status == 400


@pytest.mark.parametrize(
    "path", ["//", "//index.html", "/docs//index.html", "/./index.html", "/%2findex.html"]
)
async def test_a_path_that_is_not_in_order_finds_nothing(site: Any, live: Any, path: str) -> None:
    assert (await site.ask(path)).status == 404


async def test_a_head_has_the_headers_and_no_body(site: Any, live: Any) -> None:
    for path, size in (("/", len(PAGE)), ("/big.bin", len(BIG))):
        answer = await site.ask(path, method="HEAD", range="bytes=0-1")
        assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", str(size))


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_other_methods_are_not_answered(site: Any, live: Any, method: str) -> None:
    answer = await site.ask("/", method=method)

    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("given", [tag(PAGE), f"W/{tag(PAGE)}", "*", f'"x", {tag(PAGE)}'])
async def test_what_the_client_has_is_not_sent_again(site: Any, live: Any, given: str) -> None:
    answer = await site.ask("/", if_none_match=given, range="bytes=0-1")

    assert (answer.status, answer.body, answer.headers["etag"]) == (304, b"", tag(PAGE))
    assert "content-length" not in answer.headers


async def test_what_the_client_has_of_another_version_is_replaced(site: Any, live: Any) -> None:
    assert (await site.ask("/", if_none_match='"old"')).status == 200


@pytest.mark.parametrize(
    ("wanted", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=100-", 100, len(BIG)),
        ("bytes=-10", len(BIG) - 10, len(BIG)),
        (f"bytes=1000000-{len(BIG) * 2}", 1000000, len(BIG)),
        ("bytes=1048570-2097160", 1048570, 2097161),
    ],
)
async def test_a_range_is_sent_alone(site: Any, live: Any, wanted: str, start: int, end: int) -> None:
    answer = await site.ask("/big.bin", range=wanted)

    assert (answer.status, answer.body) == (206, BIG[start:end])
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{len(BIG)}"


async def test_a_range_of_a_small_file_is_cut_from_memory(site: Any, live: Any) -> None:
    for _ in range(2):
        answer = await site.ask("/", range="bytes=1-2")
        assert (answer.status, answer.body) == (206, b"h1")


@pytest.mark.parametrize("wanted", ["bytes=9999999999-", "bytes=5-2", "bytes=-0", "bytes=x"])
async def test_a_range_outside_the_file_is_refused(site: Any, live: Any, wanted: str) -> None:
    answer = await site.ask("/big.bin", range=wanted)

    assert (answer.status, answer.headers["content-range"]) == (416, f"bytes */{len(BIG)}")


async def test_a_range_of_what_has_changed_is_sent_whole(site: Any, live: Any) -> None:
    same = await site.ask("/", range="bytes=0-1", if_range=tag(PAGE))
    changed = await site.ask("/", range="bytes=0-1", if_range='"old"')
    weak = await site.ask("/", range="bytes=0-1", if_range=f"W/{tag(PAGE)}")

    assert (same.status, changed.status, weak.status) == (206, 200, 200)


async def test_several_ranges_are_sent_whole(site: Any, live: Any) -> None:
    assert (await site.ask("/", range="bytes=0-1,3-4")).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "nobody.localhost",
        "-.localhost",
        "a.b.c.localhost",
        ".localhost",
        "x" * 300 + ".localhost",
    ],
)
async def test_an_unknown_host_is_told_what_to_do(site: Any, live: Any, host: str) -> None:
    answer = await site.ask("/", host=host)

    assert answer.status == 404
    assert b"kedge deploy" in answer.body
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


async def test_a_deploy_serves_the_very_next_request(site: Any, platform: Any) -> None:
    for number in range(5):
        content = str(number).encode()
        await platform.upload({"index.html": content})
        assert (await site.ask("/")).body == content


async def test_a_rollback_serves_the_very_next_request(site: Any, platform: Any) -> None:
    await platform.upload({"index.html": b"one"})
    await platform.upload({"index.html": b"two"})
    assert (await site.ask("/")).body == b"two"
    await platform.deployments.rollback(platform.principal, "hello", urls=platform.urls)

    assert (await site.ask("/")).body == b"one"


async def test_what_another_node_deploys_is_served_within_a_second(platform: Any, live: Any) -> None:
    now = 1000.0
    other: Any = sites.Sites(platform.db, platform.blobs, clock=lambda: now)
    await other.find("hello")
    second = await platform.upload({"index.html": b"two"})
    assert other.at_hand("hello").sites[0].serving.version_id == live.version_id
    now += 1.0

    assert other.at_hand("hello") is None
    assert (await other.find("hello")).sites[0].serving.version_id == second.version_id


async def test_an_answer_that_a_deploy_has_overtaken_is_not_remembered(
    platform: Any, live: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: Any = sites.Sites(platform.db, platform.blobs)
    platform.deployments.subscribe(found.forget)
    asking = asyncio.create_task(found.find("hello"))
    read, answered, go_on = platform.db.read, asyncio.Event(), asyncio.Event()

    async def slow_read(*arguments: Any) -> Any:
        result = await read(*arguments)
        answered.set()
        await go_on.wait()
        return result

    monkeypatch.setattr(platform.db, "read", slow_read)
    await answered.wait()
    monkeypatch.setattr(platform.db, "read", read)
    second = await platform.upload({"index.html": b"two"})
    fresh = await found.find("hello")
    go_on.set()
    await asking

    assert fresh.sites[0].serving.version_id == second.version_id
    assert found.at_hand("hello").sites[0].serving.version_id == second.version_id


async def test_many_requests_for_one_host_ask_the_database_once(
    platform: Any, live: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, calls = platform.db.read, 0

    async def counted(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        return await read(*arguments)

    monkeypatch.setattr(platform.db, "read", counted)
    found: Any = sites.Sites(platform.db, platform.blobs)
    answers = await asyncio.gather(*(found.find("hello") for _ in range(50)))

    assert calls == 1
    assert {answer.sites[0].serving.version_id for answer in answers} == {live.version_id}


async def test_hosts_that_mean_nothing_are_asked_for_once_a_second(
    platform: Any, live: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, calls, read = 1000.0, 0, platform.db.read

    async def counted(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        return await read(*arguments)

    monkeypatch.setattr(platform.db, "read", counted)
    monkeypatch.setattr(sites, "MOST_HOSTS", 8)
    found: Any = sites.Sites(platform.db, platform.blobs, clock=lambda: now)
    await found.find("hello")
    for _ in range(5):
        assert await found.find("nobody") is None
    assert calls == 2
    now += 1.0
    assert await found.find("nobody") is None
    assert calls == 3
    for number in range(50):
        await found.find(f"nobody-{number}")
    now -= 0.5
    assert found.at_hand("hello") is not None, "unknown hosts have pushed out one that is served"
    assert len([*found._nothing]) == 8


async def test_a_preview_that_was_asked_for_before_it_is_there_is_served_at_once(
    site: Any, platform: Any, live: Any
) -> None:
    for number in range(3):
        host = f"next{number}-hello.localhost"
        assert (await site.ask("/", host=host)).status == 404
        await platform.upload({"index.html": b"preview"}, deploy=False, alias=f"next{number}")
        assert (await site.ask("/", host=host)).body == b"preview"


async def test_while_the_database_is_away_what_was_deployed_is_served(
    platform: Any, live: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    found: Any = sites.Sites(platform.db, platform.blobs, clock=lambda: now)
    await found.find("hello")
    now += 5

    async def fail(*_: Any) -> Any:
        raise ConnectionError

    monkeypatch.setattr(platform.db, "read", fail)
    assert (await found.find("hello")).sites[0].serving.version_id == live.version_id
    with pytest.raises(ConnectionError):
        await found.find("other")


async def test_previews_have_hosts_of_their_own(site: Any, platform: Any) -> None:
    first = await platform.upload({"index.html": b"one"})
    await platform.upload({"index.html": b"two"}, deploy=False, alias="next")

    assert (await site.ask("/", host=f"{first.version_id[:8]}-hello.localhost")).body == b"one"
    assert (await site.ask("/", host="next-hello.localhost")).body == b"two"
    assert (await site.ask("/", host="NEXT-hello.default.localhost")).body == b"two"
    assert (await site.ask("/", host="hello.localhost")).body == b"one"
    assert (await site.ask("/", host="none-hello.localhost")).status == 404


async def test_a_preview_moves_on_with_the_next_request(site: Any, platform: Any) -> None:
    for content in (b"one", b"two"):
        await platform.upload({"index.html": content}, deploy=False, alias="next")
        assert (await site.ask("/", host="next-hello.localhost")).body == content


async def test_a_worker_comes_before_a_preview_of_the_same_host(site: Any, platform: Any) -> None:
    await platform.upload({"index.html": b"preview"}, deploy=False, alias="next")
    await platform.add_worker("next-hello")
    assert (await site.ask("/", host="next-hello.localhost")).body == b"preview"
    await platform.upload({"index.html": b"worker"}, worker="next-hello")

    assert (await site.ask("/", host="next-hello.localhost")).body == b"worker"


async def test_no_worker_takes_the_host_of_a_preview_of_another_account(site: Any, platform: Any) -> None:
    await platform.upload({"index.html": b"preview"}, deploy=False, alias="next")
    await platform.add_worker("next-hello", account="other")
    other = platform.principal_of("other")
    made = await platform.upload({"index.html": b"theirs"}, worker="next-hello", principal=other)

    assert (await site.ask("/", host="next-hello.localhost")).body == b"preview"
    assert (await site.ask("/", host="next-hello.other.localhost")).body == b"theirs"
    assert "next-hello.other" in made.url


async def test_of_two_workers_of_one_name_the_oldest_has_the_bare_host(site: Any, platform: Any) -> None:
    await platform.add_worker("hello", account="other")
    other = platform.principal_of("other")
    await platform.upload({"index.html": b"theirs"}, principal=other, alias="next")
    assert (await site.ask("/", host="hello.localhost")).status == 404
    await platform.upload({"index.html": b"ours"})

    assert (await site.ask("/", host="hello.localhost")).body == b"ours"
    assert (await site.ask("/", host="hello.default.localhost")).body == b"ours"
    assert (await site.ask("/", host="hello.other.localhost")).body == b"theirs"
    assert (await site.ask("/", host="next-hello.other.localhost")).body == b"theirs"
    assert (await site.ask("/", host=f"hello.{other.account_id}.localhost")).body == b"theirs"
    assert (await site.ask("/", host="next-hello.localhost")).status == 404


async def test_every_request_sees_one_version_whole_while_deploys_go_on(site: Any, platform: Any) -> None:
    """Page and asset of one connection may differ, but no answer mixes headers and body of two versions."""
    contents = [bytes([65 + number]) * 200_000 for number in range(4)]
    await platform.upload({"index.html": contents[0]})

    async def deploy() -> None:
        for number in range(12):
            await platform.upload({"index.html": contents[number % 4]})

    deploying = asyncio.create_task(deploy())
    while not deploying.done():
        answer = await site.ask("/")
        assert answer.status == 200
        assert answer.headers["etag"] == tag(answer.body)
    await deploying


class EndlessBlobs:
    """A store whose large files have no end."""

    def __init__(self, blobs: Any) -> None:
        self._blobs = blobs
        self.released = asyncio.Event()
        self.parts = 0

    async def get(self, key: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        if key.startswith("manifests/"):
            async for part in self._blobs.get(key):
                yield part
            return
        try:
            while True:
                self.parts += 1
                yield b"x" * 65536
                await asyncio.sleep(0)
        finally:
            self.released.set()


async def test_a_large_file_is_read_no_faster_than_the_client_takes_it_and_not_after_it_has_gone(
    platform: Any, db: Database, serving: Any
) -> None:
    await platform.upload({"big.bin": b"x" * 25_000_000, "index.html": PAGE})
    blobs: Any = EndlessBlobs(platform.blobs)
    async with serving(Gateway(db, blobs, "localhost", registry=platform.ears)) as site:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(b"GET /big.bin HTTP/1.1\r\nHost: hello.localhost\r\n\r\n")
        await reader.readexactly(1000)
        for _ in range(50):
            await site.ask("/nothing")
        assert blobs.parts * 65536 < 20_000_000
        writer.transport.abort()
        await asyncio.wait_for(blobs.released.wait(), 60)


async def test_a_file_that_was_lost_is_an_error_and_not_an_empty_page(
    site: Any, platform: Any, live: Any
) -> None:
    for path, content in (("/", PAGE), ("/big.bin", BIG)):
        await platform.blobs.delete(file_key(platform.principal.account_id, sha256(content).hexdigest()))
        assert (await site.ask(path)).status == 500


async def test_the_hook_hears_of_requests_only_if_someone_listens(
    site: Any, platform: Any, live: Any, serving: Any
) -> None:
    await site.ask("/")
    ears = Ears(listening=True)
    async with serving(Gateway(platform.db, platform.blobs, "localhost", registry=ears)) as heard:
        await heard.ask("/about?x=1")
        await heard.ask("/big.bin", range="bytes=0-99")
        await heard.ask("/", host="nobody.localhost")

    await ears.hears(2)
    assert platform.ears.heard == []
    seen = [(e.worker, e.version_id, e.path, e.status, e.bytes_sent) for e in ears.heard]
    assert seen == [
        ("hello", live.version_id, "/about", 200, 5),
        ("hello", live.version_id, "/big.bin", 206, 100),
    ]


async def test_one_connection_serves_many_requests(site: Any, live: Any) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    for _ in range(20):
        writer.write(b"GET / HTTP/1.1\r\nHost: hello.localhost\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert await reader.readexactly(len(PAGE)) == PAGE
    writer.close()
