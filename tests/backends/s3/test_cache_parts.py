"""Archives of caches that builds send to a real S3 part by part, asked for over HTTP as runners do."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from tests.core.api.conftest import open_world
from tests.core.api.test_caches import (
    DAY_MS,
    VERSION,
    _age,
    _archives,
    announcement,
    cached_project,
    runner_of,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.core.api.conftest import Project, World
    from tests.core.api.test_caches import Runner

    from kedge.db.engine import Database

WANTED = {"name": "npm", "version": VERSION, "key": "npm-1"}


@asynccontextmanager
async def world_on(place: Any, db: Database, folder: Path, limit: str) -> AsyncIterator[World]:
    table = place.settings().model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    keys = {name: f"file:{place.folder}/{file}" for name, file in KEYS.items()}
    blobs = {"use": "s3", "s3": {**table, **keys}}
    async with open_world(
        db, folder, blobs=blobs, builds={"stop_grace": 0.1, "cache_limit": limit}
    ) as opened:
        yield opened


KEYS = {"access_key": "access", "secret_key": "secret"}


@pytest.fixture
async def world(db: Database, place: Any, tmp_path: Path) -> AsyncIterator[World]:
    async with world_on(place, db, tmp_path, "12 MB") as opened:
        yield opened


@pytest.fixture
async def project(world: World) -> Project:
    return await cached_project(await world.caller("default"))


async def begin(runner: Runner) -> tuple[str, int]:
    upload = (await runner.result("POST", "/parts", WANTED))["upload"]
    return upload["id"], upload["part_size"]


def archives(place: Any) -> list[str]:
    return [key for key in place.keys() if key.startswith("cache/")]  # noqa: SIM118  (no dictionary)


def part(number: int, data: bytes) -> dict[str, Any]:
    return {"number": number, "size": len(data), "md5": hashlib.md5(data).hexdigest()}  # noqa: S324  (S3's)


async def send(runner: Runner, archive: str, number: int, data: bytes) -> str:
    put = (await runner.result("POST", f"/{archive}/parts", part(number, data)))["put"]
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.put(put["url"], content=data, headers=put["headers"])
    assert answer.status_code == 200, answer.text
    return answer.headers["ETag"]


def joined(content: bytes, *etags: str) -> dict[str, Any]:
    told = ("fingerprint", "size", "sha256", "tree_bytes", "file_count")
    fact = announcement("npm-1", content)
    return {name: fact[name] for name in told} | {"etags": etags}


async def test_an_archive_sent_in_parts_is_found_by_the_next_build(
    world: World, place: Any, project: Project
) -> None:
    first = await runner_of(world, project)
    archive, size = await begin(first)
    data = [b"x" * size, b"the end"]
    etags = [await send(first, archive, number, one) for number, one in enumerate(data, start=1)]
    assert await (await runner_of(world, project)).look_up("npm-1") is None

    for _ in range(2):
        await first.result("POST", f"/{archive}/join", joined(b"".join(data), *etags))

    hit = await (await runner_of(world, project)).look_up("npm-1")
    assert (hit["id"], hit["size"]) == (archive, size + 7)
    assert hit["sha256"] == sha256(b"".join(data)).hexdigest()
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(hit["get"]["url"])).content == b"".join(data)
    assert (await first.call("GET", f"/{archive}")).content == b"".join(data)
    assert place.uploads() == []


async def test_of_two_builds_that_save_one_key_at_once_the_next_build_finds_one_whole(
    world: World, place: Any, project: Project
) -> None:
    runners = [await runner_of(world, project) for _ in range(2)]
    begun = [await begin(runner) for runner in runners]
    contents = [bytes([number]) * (begun[number][1] + 5) for number in range(2)]

    async def save(number: int) -> None:
        (archive, size), data, runner = begun[number], contents[number], runners[number]
        etags = [
            await send(runner, archive, part, one)
            for part, one in enumerate((data[:size], data[size:]), start=1)
        ]
        await runner.result("POST", f"/{archive}/join", joined(data, *etags))

    await asyncio.gather(save(0), save(1))

    hit = await (await runner_of(world, project)).look_up("npm-1")
    won = [archive for archive, _ in begun].index(hit["id"])
    assert hit["sha256"] == sha256(contents[won]).hexdigest()
    assert (await runners[0].call("GET", f"/{hit['id']}")).content == contents[won]

    await world.db.write(_age, begun[1 - won][0], DAY_MS)
    await world.parts.caches.sweep()
    assert [key.rpartition("/")[2] for key in archives(place)] == [hit["id"]]
    assert place.uploads() == []


async def test_an_upload_that_nobody_ends_is_swept_and_so_are_its_parts(
    world: World, place: Any, project: Project
) -> None:
    runner = await runner_of(world, project)
    archive, size = await begin(runner)
    etag = await send(runner, archive, 1, b"x" * size)
    await world.parts.caches.sweep()
    assert len(place.uploads()) == 1

    await world.db.write(_age, archive, DAY_MS)
    await world.parts.caches.sweep()

    assert (place.uploads(), archives(place)) == ([], [])
    assert await world.db.read(_archives) == []
    answer = await runner.call("POST", f"/{archive}/join", joined(b"x" * size, etag))
    assert answer.status_code == 404


async def test_an_upload_that_is_not_wanted_after_all_is_dropped(
    world: World, place: Any, project: Project
) -> None:
    runner = await runner_of(world, project)
    archive, size = await begin(runner)
    await send(runner, archive, 1, b"x" * size)

    await runner.result("DELETE", f"/{archive}")

    assert (place.uploads(), archives(place)) == ([], [])
    assert (await runner.call("POST", f"/{archive}/parts", part(2, b"x"))).status_code == 404


async def test_what_is_stored_is_not_dropped(world: World, place: Any, project: Project) -> None:
    runner = await runner_of(world, project)
    archive, _ = await begin(runner)
    etag = await send(runner, archive, 1, b"all")
    await runner.result("POST", f"/{archive}/join", joined(b"all", etag))

    await runner.result("DELETE", f"/{archive}")

    assert (await runner.look_up("npm-1"))["id"] == archive
    assert len(archives(place)) == 1


async def test_no_more_is_signed_than_a_worker_may_keep(world: World, project: Project) -> None:
    runner = await runner_of(world, project)
    archive, size = await begin(runner)
    for number in (1, 2):
        await runner.result("POST", f"/{archive}/parts", part(number, b"x" * size))

    answer = await runner.call("POST", f"/{archive}/parts", part(3, b"x" * size))

    assert answer.status_code == 413
    assert "12000000 bytes" in answer.json()["errors"][0]["message"]


async def test_parts_that_are_missing_are_not_joined(world: World, place: Any, project: Project) -> None:
    runner = await runner_of(world, project)
    archive, size = await begin(runner)
    etag = await send(runner, archive, 1, b"x" * size)
    whole = b"x" * size + b"y"

    for wrong in (
        joined(whole, etag, etag),
        joined(whole, '"' + "0" * 32 + '"'),
        joined(whole) | {"etags": []},
    ):
        assert (await runner.call("POST", f"/{archive}/join", wrong)).status_code == 400
    assert (await runner.call("POST", f"/{archive}/join", joined(whole, etag))).status_code == 400

    assert await runner.look_up("npm-1") is None


async def test_parts_are_for_the_build_that_began_them_and_for_trusted_ones(
    world: World, project: Project
) -> None:
    runner, other = await runner_of(world, project), await runner_of(world, project)
    archive, _ = await begin(runner)
    etag = await send(runner, archive, 1, b"all")
    for method, path, body in (
        ("POST", "/parts", part(1, b"all")),
        ("POST", "/join", joined(b"all", etag)),
        ("DELETE", "", None),
    ):
        assert (await other.call(method, f"/{archive}{path}", body)).status_code == 404
    stranger = await runner_of(world, project, trusted=False)
    assert (await stranger.call("POST", "/parts", WANTED)).status_code == 403
    for wrong in ({"number": 0}, {"number": 10_001}, {"size": 0}, {"md5": "x"}):
        answer = await runner.call("POST", f"/{archive}/parts", part(1, b"all") | wrong)
        assert answer.status_code == 400
    await runner.result("POST", f"/{archive}/join", joined(b"all", etag))


async def test_an_archive_that_was_announced_whole_has_no_parts(world: World, project: Project) -> None:
    runner = await runner_of(world, project)
    archive = (await runner.announce("npm-1")).json()["result"]["id"]
    assert (await runner.call("POST", f"/{archive}/parts", part(1, b"x"))).status_code == 400
    assert (await runner.call("POST", f"/{archive}/join", joined(b"x", "etag"))).status_code == 400
