"""Who gets in, and what a hostile client can do."""

from __future__ import annotations

import asyncio
import base64
import gzip
from typing import TYPE_CHECKING

import httpx
import pytest
from starlette.applications import Starlette

from kedge.testing.fake_host import FakeHost
from kedge_git import kedge_register_routes
from kedge_git.child import Child

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.plugins.git.conftest import Clone, Hosted

INFO = "/git/default/hello.git/info/refs?service=git-upload-pack"
RECEIVE = "/git/default/hello.git/git-receive-pack"
UPLOAD = "/git/default/hello.git/git-upload-pack"
RECEIVE_TYPE = {"content-type": "application/x-git-receive-pack-request"}
UPLOAD_TYPE = {"content-type": "application/x-git-upload-pack-request"}


@pytest.fixture
async def tree(hosted: Hosted) -> Clone:
    tree = await hosted.new_tree()
    await tree.commit("first")
    await tree.git("push", "-q", "origin", "main")
    return tree


@pytest.fixture
async def client(hosted: Hosted, tree: Clone) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=hosted.host.public_url, auth=("any", "a-token")) as client:
        yield client


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Basic",
        "Basic !!!",
        "Basic " + base64.b64encode(b"a-token").decode(),
        "Basic " + base64.b64encode(b"a-token:").decode(),
        "Basic " + base64.b64encode(b"x:wrong").decode(),
        "Basic " + base64.b64encode(b"x:\xff").decode(),
        "Bearer wrong",
        "Digest a-token",
    ],
)
async def test_without_a_good_token_git_is_asked_for_one(
    hosted: Hosted, client: httpx.AsyncClient, authorization: str
) -> None:
    headers = {"authorization": authorization} if authorization else {}

    answer = await client.get(INFO, headers=headers, auth=lambda request: request)

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Basic ")


async def test_a_bearer_token_is_as_good(client: httpx.AsyncClient) -> None:
    headers = {"authorization": "Bearer a-token"}

    answer = await client.get(INFO, headers=headers, auth=lambda request: request)

    assert answer.status_code == 200


async def test_another_account_sees_no_repository(hosted: Hosted, tree: Clone) -> None:
    hosted.host.grant("stranger", account="other")

    for argv in (["ls-remote", hosted.url(token="stranger")], ["push", hosted.url(token="stranger"), "main"]):
        ran = await tree.try_git(*argv)
        assert ran.code == 128
        assert "not found" in ran.err


async def test_an_attempt_may_read_but_not_push(hosted: Hosted, tree: Clone) -> None:
    hosted.host.grant("attempt", build_uuid="some-build")

    read = await tree.try_git("ls-remote", hosted.url(token="attempt"))
    written = await tree.try_git("push", hosted.url(token="attempt"), "main:other")

    assert (read.code, written.code) == (0, 128)


async def test_a_repository_that_is_not_there_is_not_found(hosted: Hosted, tree: Clone) -> None:
    ran = await tree.try_git("push", hosted.url("missing"), "main")

    assert ran.code == 128
    assert "not found" in ran.err
    assert await hosted.settled()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/git/default/hello.git/info/refs", 404),
        ("GET", "/git/default/hello.git/info/refs?service=git-shell", 404),
        ("GET", "/git/default/hello.git/info/refs?service=--help", 404),
        ("GET", "/git/default/hello.git/info/refs?service=git-upload-pack&service=git-receive-pack", 404),
        ("GET", "/git/default/hello.git/HEAD", 404),
        ("GET", "/git/default/hello.git/config", 404),
        ("GET", "/git/default/hello.git/objects/info/packs", 404),
        ("GET", "/git/default/hello/info/refs?service=git-upload-pack", 404),
        ("GET", "/git/default/%2e%2e%2fhello.git/info/refs?service=git-upload-pack", 404),
        ("GET", "/git/default/hello.git/..%2finfo/refs?service=git-upload-pack", 404),
        ("GET", "/git/DEFAULT/hello.git/info/refs?service=git-upload-pack", 404),
        ("GET", "/git/default/hello.git.git/info/refs?service=git-upload-pack", 404),
        ("GET", "/git/default/%00.git/info/refs?service=git-upload-pack", 404),
        ("GET", "/git/default/$(id).git/info/refs?service=git-upload-pack", 404),
        ("GET", RECEIVE, 405),
        ("PUT", RECEIVE, 405),
        ("POST", INFO, 405),
        ("HEAD", INFO, 405),
        ("POST", RECEIVE, 415),
    ],
)
async def test_only_the_paths_of_the_protocol_are_served(
    client: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    assert (await client.request(method, path)).status_code == status


async def test_an_encoding_that_nobody_uses_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post(UPLOAD, content=b"0000", headers={**UPLOAD_TYPE, "content-encoding": "br"})

    assert answer.status_code == 415


async def test_a_gzip_body_is_understood(client: httpx.AsyncClient) -> None:
    asked = b"0014command=ls-refs\n00010009peel\n0000"
    headers = {**UPLOAD_TYPE, "git-protocol": "version=2", "content-encoding": "gzip"}

    answer = await client.post(UPLOAD, content=gzip.compress(asked), headers=headers)

    assert b"refs/heads/main" in answer.content


async def test_a_hostile_protocol_header_is_ignored(client: httpx.AsyncClient) -> None:
    answer = await client.get(INFO, headers={"git-protocol": "version=2; touch pwned"})

    assert answer.status_code == 200
    assert b"refs/heads/main" in answer.content


@pytest.mark.parametrize("body", [b"", b"0000", b"garbage", b"ffff", b"0001", b"\0" * 1000, b"004"])
async def test_a_senseless_body_moves_nothing(hosted: Hosted, client: httpx.AsyncClient, body: bytes) -> None:
    hosted.host.deliveries.clear()

    answers = [
        await client.post(RECEIVE, content=body, headers=RECEIVE_TYPE),
        await client.post(UPLOAD, content=body, headers=UPLOAD_TYPE),
    ]

    assert {answer.status_code for answer in answers} <= {200, 500}
    assert hosted.host.deliveries == []
    assert await hosted.settled()


async def test_nothing_is_served_while_the_forge_is_not_open(tmp_path: Path) -> None:
    host = FakeHost(tmp_path)
    host.grant("a-token")
    app = Starlette(routes=kedge_register_routes(host))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://kedge", auth=("x", "a-token")
    ) as client:
        answer = await client.get(INFO)

    assert answer.status_code == 503
    assert "[forges] use" in answer.text


@pytest.mark.parametrize("path", [RECEIVE, UPLOAD])
async def test_a_client_that_leaves_in_the_middle_ends_its_git(
    hosted: Hosted, tree: Clone, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, ended = _watch(monkeypatch)
    host, port = hosted.host.public_url.removeprefix("http://").split(":")
    service = path.rpartition("/")[2]
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a-token\r\nContent-Length: 1000\r\n"
        f"Content-Type: application/x-{service}-request\r\n\r\n0000".encode()
    )
    await started.wait()

    writer.close()

    await asyncio.wait_for(ended.wait(), 60)
    assert hosted.host.pushes[1:] == []


def _watch(monkeypatch: pytest.MonkeyPatch) -> tuple[asyncio.Event, asyncio.Event]:
    """Tells when a child was written to, and when one has ended."""
    started, ended = asyncio.Event(), asyncio.Event()
    write, end = Child.write, Child.end

    async def watched_write(self: Child, data: bytes) -> None:
        await write(self, data)
        started.set()

    async def watched_end(self: Child) -> None:
        await end(self)
        ended.set()

    monkeypatch.setattr(Child, "write", watched_write)
    monkeypatch.setattr(Child, "end", watched_end)
    return started, ended


async def test_a_push_whose_hook_never_spoke_is_handed_in_by_the_reflog(
    hosted: Hosted, tree: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosted.host.deliveries.clear()
    hook = hosted.host.data_dir / "git" / "hooks" / "post-receive"
    hook.write_text("#!/bin/sh\nexit 1\n")
    commit_hash = await tree.commit("second")

    await tree.git("push", "origin", "main")

    await hosted.host.wait_for_deliveries(1)
    assert [push.commit_hash for push in hosted.host.pushes] == [commit_hash]
