"""Build caches over HTTP, as runners and users ask for them."""

from __future__ import annotations

from hashlib import md5, sha256
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from sqlalchemy import update
from sqlmodel import col, select
from tests.core.api.statements import statements

from kedge.builds.caches import MOST_UNFINISHED
from kedge.contracts.forge import Delivery
from kedge.db.clock import now_ms
from kedge.db.queries import caches as queries
from kedge.db.tables import CacheArchive, CacheEntry
from kedge.errors import StoreUnavailable
from kedge_disk.blobs import DiskBlobs

if TYPE_CHECKING:
    import httpx
    from sqlmodel import Session
    from tests.core.api.conftest import Caller, Project, World

DAY_MS = 24 * 3600 * 1000
VERSION = "0" * 32
CONTENT = b"what a build has kept" * 1000


class Runner:
    """The runner of a build that is at work."""

    def __init__(self, world: World, build_uuid: str, token: str) -> None:
        self.world = world
        self.build_uuid = build_uuid
        self.token = token

    async def call(self, method: str, path: str, body: Any = None, **more: Any) -> httpx.Response:
        url = f"/api/builds/{self.build_uuid}/caches{path}"
        headers = {"Authorization": f"Bearer {self.token}"}
        json = {} if body is None else {"json": body}
        return await self.world.client.request(method, url, headers=headers, **json, **more)

    async def result(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        response = await self.call(method, path, body, **more)
        assert response.status_code == 200, response.text
        return response.json()["result"]

    async def look_up(self, key: str, *restore_keys: str, name: str = "npm", version: str = VERSION) -> Any:
        body = {"name": name, "version": version, "key": key, "restore_keys": restore_keys}
        return (await self.result("POST", "/lookup", body))["hit"]

    async def announce(self, key: str, content: bytes = CONTENT, /, **changed: Any) -> httpx.Response:
        return await self.call("POST", "", announcement(key, content) | changed)

    async def save(self, key: str, content: bytes = CONTENT) -> str:
        archive_id = str((await self.announce(key, content)).json()["result"]["id"])
        await self.result("PUT", f"/{archive_id}", content=content)
        await self.result("POST", f"/{archive_id}/complete")
        return archive_id


def announcement(key: str, content: bytes) -> dict[str, Any]:
    return {
        "name": "npm",
        "version": VERSION,
        "key": key,
        "fingerprint": sha256(content).hexdigest(),
        "size": len(content),
        "sha256": sha256(content).hexdigest(),
        "md5": md5(content, usedforsecurity=False).hexdigest(),
        "tree_bytes": len(content),
        "file_count": 1,
    }


async def runner_of(world: World, project: Project, branch: str = "main", *, trusted: bool = True) -> Runner:
    """The runner of a fresh build of a branch."""
    push = world.forge.commit(project.repo, branch, trusted=trusted)
    delivery = Delivery(forge="fake", delivery_id=uuid4().hex, pushes=(push,))
    [build_uuid, *_] = await world.parts.host.intake.receive(delivery)
    return Runner(world, build_uuid, await world.started(build_uuid))


async def cached_project(caller: Caller, worker: str = "hello") -> Project:
    """A worker whose production and preview triggers cache."""
    project = await caller.make_project(worker, build_caching_enabled=True)
    body = {
        "external_script_id": project.tag,
        "repo_connection_uuid": project.connection,
        "trigger_name": "preview",
        "branch_includes": ["*"],
        "branch_excludes": ["main"],
        "build_caching_enabled": True,
    }
    await caller.result("POST", "/builds/triggers", body)
    return project


@pytest.fixture
async def project(me: Caller) -> Project:
    return await cached_project(me)


async def test_what_a_build_saves_the_next_one_finds(world: World, project: Project) -> None:
    first = await runner_of(world, project)
    assert await first.look_up("npm-1") is None
    archive_id = await first.save("npm-1")

    second = await runner_of(world, project)
    hit = await second.look_up("npm-1")

    digest = sha256(CONTENT).hexdigest()
    where = {"id": archive_id, "key": "npm-1", "branch": "main", "get": None}
    what = {"size": len(CONTENT), "sha256": digest, "fingerprint": digest}
    assert hit == {**where, **what, "tree_bytes": len(CONTENT), "file_count": 1}
    assert (await second.call("GET", f"/{archive_id}")).content == CONTENT


async def test_the_job_says_whether_there_is_a_cache(world: World, me: Caller, project: Project) -> None:
    declared = {"name": "x", "paths": ["build"], "key": "x-{branch}", "restore_keys": []}
    await me.result("PATCH", f"/builds/triggers/{project.trigger}", {"build_caches": [declared]})
    for trusted in (True, False):
        runner = await runner_of(world, project, trusted=trusted)
        url, headers = f"/api/builds/{runner.build_uuid}/job", {"Authorization": f"Bearer {runner.token}"}
        job = (await world.client.get(url, headers=headers)).json()["result"]
        assert job["cache"] == {"writable": trusted, "declared": [declared]}


async def test_a_trigger_that_does_not_cache_has_none(world: World, me: Caller) -> None:
    plain = await me.make_project("plain")
    runner = await runner_of(world, plain)
    url, headers = f"/api/builds/{runner.build_uuid}/job", {"Authorization": f"Bearer {runner.token}"}

    assert (await world.client.get(url, headers=headers)).json()["result"]["cache"] is None
    assert (await runner.announce("npm-1")).status_code == 403
    assert (
        await runner.call("POST", "/lookup", {"name": "n", "version": VERSION, "key": "k"})
    ).status_code == 403


async def test_a_branch_falls_back_to_production_and_never_to_another_branch(
    world: World, project: Project
) -> None:
    await (await runner_of(world, project, "other")).save("npm-1", b"of other")
    feature = await runner_of(world, project, "feature")
    assert await feature.look_up("npm-1", "npm-") is None

    await (await runner_of(world, project, "main")).save("npm-1", b"of main")
    assert (await feature.look_up("npm-1"))["branch"] == "main"

    await feature.save("npm-1", b"of feature")
    assert (await feature.look_up("npm-1"))["branch"] == "feature"
    assert (await (await runner_of(world, project, "main")).look_up("npm-1"))["branch"] == "main"


async def test_a_whole_key_wins_over_beginnings_and_the_newest_of_these_wins(
    world: World, project: Project
) -> None:
    runner = await runner_of(world, project)
    await runner.save("npm-1", b"1")
    await runner.save("npm-2", b"2")
    await runner.save("NPM-3", b"3")

    assert (await runner.look_up("npm-1", "npm-"))["key"] == "npm-1"
    assert (await runner.look_up("npm-9", "npm-"))["key"] == "npm-2"
    assert (await runner.look_up("npm-9", "none-", "npm-1"))["key"] == "npm-1"
    assert await runner.look_up("npm-9") is None
    assert await runner.look_up("npm-9", "%") is None
    assert await runner.look_up("npm-1", "npm-", name="next") is None
    assert await runner.look_up("npm-1", "npm-", version="1" * 32) is None


async def test_an_untrusted_build_reads_and_never_writes(world: World, project: Project) -> None:
    await (await runner_of(world, project)).save("npm-1")
    fork = await runner_of(world, project, "main", trusted=False)

    hit = await fork.look_up("npm-1")
    assert (await fork.call("GET", f"/{hit['id']}")).content == CONTENT
    known = {"name": "npm", "version": VERSION, "key": "npm-2", "fingerprint": sha256(CONTENT).hexdigest()}
    for response in (
        await fork.announce("npm-1", b"poison"),
        await fork.call("POST", "/known", known),
        await fork.call("PUT", f"/{hit['id']}", content=b"poison"),
        await fork.call("POST", f"/{hit['id']}/complete"),
        await fork.call("POST", f"/{hit['id']}/reject"),
    ):
        assert response.status_code == 403
        assert "not trusted" in response.json()["errors"][0]["message"]
    assert (await fork.look_up("npm-1"))["id"] == hit["id"]


async def test_an_untrusted_push_never_makes_a_production_build(
    world: World, me: Caller, project: Project
) -> None:
    fork = await runner_of(world, project, "main", trusted=False)

    build = await me.result("GET", f"/builds/builds/{fork.build_uuid}")

    assert build["kedge"]["is_production"] is False


async def test_a_tree_that_is_kept_already_is_not_sent_again(world: World, project: Project) -> None:
    runner = await runner_of(world, project)
    body = {"name": "npm", "version": VERSION, "key": "npm-1", "fingerprint": sha256(CONTENT).hexdigest()}
    assert await runner.result("POST", "/known", body) == {"known": False}
    archive_id = await runner.save("npm-1")

    assert await runner.result("POST", "/known", body) == {"known": True}
    assert await runner.result("POST", "/known", body | {"key": "npm-2"}) == {"known": True}
    assert (await runner.look_up("npm-2"))["id"] == archive_id
    feature = await runner_of(world, project, "feature")
    assert await feature.result("POST", "/known", body) == {"known": True}
    assert await feature.result("POST", "/known", body | {"version": "1" * 32}) == {"known": False}


async def test_nothing_is_found_before_all_of_it_is_there(world: World, project: Project) -> None:
    runner = await runner_of(world, project)
    archive_id = (await runner.announce("npm-1")).json()["result"]["id"]
    assert (await runner.call("POST", f"/{archive_id}/complete")).status_code == 404
    assert (await runner.call("GET", f"/{archive_id}")).status_code == 404

    for wrong in (CONTENT[:-1], CONTENT + b"x", b"X" + CONTENT[1:]):
        assert (await runner.call("PUT", f"/{archive_id}", content=wrong)).status_code == 400
    assert (await runner.call("POST", f"/{archive_id}/complete")).status_code == 404
    assert await runner.look_up("npm-1") is None


async def test_what_a_build_found_damaged_is_found_no_more(world: World, project: Project) -> None:
    runner = await runner_of(world, project)
    archive_id = await runner.save("npm-1")

    await runner.result("POST", f"/{archive_id}/reject")

    assert await runner.look_up("npm-1") is None
    body = {"name": "npm", "version": VERSION, "key": "npm-1", "fingerprint": sha256(CONTENT).hexdigest()}
    assert await runner.result("POST", "/known", body) == {"known": False}


async def test_a_new_save_takes_the_place_of_the_old(world: World, project: Project) -> None:
    runner = await runner_of(world, project)
    await runner.save("npm-1", b"old")
    new = await runner.save("npm-1", b"new")

    assert (await runner.look_up("npm-1"))["id"] == new


async def test_another_workers_cache_is_out_of_reach(
    world: World, me: Caller, stranger: Caller, project: Project
) -> None:
    archive_id = await (await runner_of(world, project)).save("npm-1")
    pending = (await (await runner_of(world, project)).announce("npm-2")).json()["result"]["id"]
    for caller, name in ((me, "neighbour"), (stranger, "hello")):
        other = await runner_of(world, await cached_project(caller, name))
        assert await other.look_up("npm-1", "npm-") is None
        for method, path in (
            ("GET", f"/{archive_id}"),
            ("PUT", f"/{archive_id}"),
            ("POST", f"/{archive_id}/complete"),
            ("POST", f"/{archive_id}/reject"),
            ("PUT", f"/{pending}"),
            ("POST", f"/{pending}/complete"),
        ):
            content = {"content": CONTENT} if method == "PUT" else {}
            assert (await other.call(method, path, **content)).status_code == 404
    status, code, _ = await stranger.refusal("GET", f"/builds/workers/{project.tag}/caches")
    assert (status, code) == (404, 12000)
    assert (await stranger.refusal("DELETE", f"/builds/workers/{project.tag}/caches"))[0] == 404


async def test_one_build_cannot_finish_what_another_began(world: World, project: Project) -> None:
    pending = (await (await runner_of(world, project)).announce("npm-1")).json()["result"]["id"]
    other = await runner_of(world, project)

    assert (await other.call("PUT", f"/{pending}", content=CONTENT)).status_code == 404
    assert (await other.call("POST", f"/{pending}/complete")).status_code == 404


async def test_another_branchs_archive_cannot_be_had_by_its_id(world: World, project: Project) -> None:
    archive_id = await (await runner_of(world, project, "secret")).save("npm-1")

    response = await (await runner_of(world, project, "feature")).call("GET", f"/{archive_id}")

    assert response.status_code == 404


@pytest.mark.parametrize(
    "path", ["/..%2f..%2fversions", "/%2e%2e", "/..%2F..%2F..%2Fetc%2Fpasswd", "/%00", "/*", "/" + "a" * 5000]
)
async def test_ids_lead_to_no_other_place(path: str, world: World, project: Project) -> None:
    runner = await runner_of(world, project)

    for method in ("GET", "PUT"):
        content = {"content": CONTENT} if method == "PUT" else {}
        assert (await runner.call(method, path, **content)).status_code in {400, 404, 405}
    assert (await runner.call("POST", f"{path}/complete")).status_code in {400, 404, 405}


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "../x"},
        {"name": ""},
        {"name": "a/b"},
        {"version": "../../../etc/passwd"},
        {"key": ""},
        {"key": "a\nb"},
        {"key": "k" * 513},
        {"sha256": "x"},
        {"size": 0},
        {"size": -1},
        {"size": 1 << 63},
        {"branch": "main"},
        {"blob": "x"},
    ],
)
async def test_what_a_cache_cannot_be_called_is_refused(
    wrong: dict[str, Any], world: World, project: Project
) -> None:
    runner = await runner_of(world, project)

    assert (await runner.announce("npm-1", **wrong)).status_code == 400


async def test_keys_never_name_a_place_in_the_store(world: World, project: Project) -> None:
    runner = await runner_of(world, project)
    archive_id = await runner.save("../../../versions/" + "x")

    found = [blob.key async for blob in world.parts.blobs.list("cache/")]

    [archive] = await world.db.read(_archives)
    assert found == [f"cache/{archive.account_id}/{project.tag}/{archive_id}"]


async def test_a_cache_larger_than_a_worker_may_keep_is_refused(world: World, project: Project) -> None:
    runner = await runner_of(world, project)

    response = await runner.announce("npm-1", size=10 * 1000**3 + 1)

    assert response.status_code == 413
    assert "Cache less" in response.json()["errors"][0]["message"]


async def test_uploads_that_are_not_completed_hold_no_more_than_a_worker_may_keep(
    world: World, project: Project
) -> None:
    limit = 10 * 1000**3
    first, second = await runner_of(world, project), await runner_of(world, project)
    begun = await first.announce("a", size=limit - 10)
    one_more = await second.announce("b", size=11)
    fits = await second.announce("c", size=10)
    await first.result("DELETE", f"/{begun.json()['result']['id']}")
    again = await second.announce("b", size=11)

    assert [one.status_code for one in (begun, one_more, fits, again)] == [200, 413, 200, 200]
    assert "not complete" in one_more.text


async def test_a_build_begins_only_so_many_uploads_at_a_time(world: World, project: Project) -> None:
    runner = await runner_of(world, project)
    for number in range(MOST_UNFINISHED):
        assert (await runner.announce(f"npm-{number}")).status_code == 200

    assert (await runner.announce("one-more")).status_code == 413
    assert (await (await runner_of(world, project)).announce("npm")).status_code == 200


async def test_what_was_not_read_for_a_week_is_removed(world: World, project: Project) -> None:
    runner = await runner_of(world, project)
    old = await runner.save("npm-1", b"old")
    read = await runner.save("npm-2", b"read")
    await world.db.write(_age, old, 7 * DAY_MS + 1000)
    await world.db.write(_age, read, 7 * DAY_MS + 1000)
    await runner.look_up("npm-2")

    await world.parts.caches.sweep()

    assert await runner.look_up("npm-1") is None
    assert (await runner.look_up("npm-2"))["id"] == read
    assert [blob.key.rpartition("/")[2] async for blob in world.parts.blobs.list("cache/")] == [read]


async def test_what_is_read_once_a_week_is_kept_and_what_never_was_goes_a_week_after_it_was_made(
    world: World, project: Project
) -> None:
    builds = world.parts.builds.settings.builds
    assert (builds.cache_retention * 1000, builds.cache_limit) == (7 * DAY_MS, 10_000_000_000)
    runner = await runner_of(world, project)
    read, never = await runner.save("npm-1", b"read"), await runner.save("npm-2", b"never")
    for _ in range(3):
        await world.db.write(_age, read, 7 * DAY_MS - 60_000)
        await world.parts.caches.sweep()
        assert (await runner.look_up("npm-1"))["id"] == read
    await world.db.write(_age, never, 7 * DAY_MS - 60_000)
    await world.parts.caches.sweep()
    assert never in [archive.id for archive in await world.db.read(_archives)]
    await world.db.write(_age, never, 7 * DAY_MS + 1000)
    await world.parts.caches.sweep()
    assert [archive.id for archive in await world.db.read(_archives)] == [read]


async def test_a_lookup_by_a_beginning_counts_as_a_read_for_what_goes_first(
    world: World, project: Project
) -> None:
    runner = await runner_of(world, project)
    ids = [await runner.save(f"npm-{number}", bytes([number]) * 10) for number in range(2)]
    for age, archive_id in zip((3, 2), ids, strict=True):
        await world.db.write(_age, archive_id, age * DAY_MS)
    assert (await runner.look_up("other", "npm-0"))["id"] == ids[0]

    await world.db.write(queries.doom_surplus, limit=10)

    assert [await runner.look_up(f"npm-{number}") is None for number in range(2)] == [False, True]


async def test_beyond_the_limit_the_least_recently_read_goes_first(
    world: World, me: Caller, project: Project
) -> None:
    runner = await runner_of(world, project)
    ids = [await runner.save(f"npm-{number}", bytes([number]) * 10) for number in range(3)]
    for age, archive_id in zip((2, 3, 1), ids, strict=True):
        await world.db.write(_age, archive_id, age * DAY_MS)
    other = await runner_of(world, await cached_project(me, "other"))
    await other.save("npm-1", b"x" * 30)

    await world.db.write(queries.doom_surplus, limit=20)
    await world.parts.caches.remove_doomed()

    assert [await runner.look_up(f"npm-{number}") is None for number in range(3)] == [False, True, False]
    assert await other.look_up("npm-1") is None
    assert len([blob async for blob in world.parts.blobs.list("cache/")]) == 2


async def test_what_is_too_much_goes_as_soon_as_more_is_saved(
    world: World, me: Caller, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await runner_of(world, await cached_project(me, "other"))
    await other.save("npm-1", b"x" * 30)
    runner = await runner_of(world, project)
    oldest = await runner.save("npm-1", b"1" * 10)
    read = await runner.save("npm-2", b"2" * 10)
    await world.db.write(_age, oldest, DAY_MS)
    await world.db.write(_age, read, DAY_MS // 2)
    settings = world.parts.builds.settings.builds.model_copy(update={"cache_limit": 25})
    monkeypatch.setattr(world.parts.caches, "_settings", settings)

    saved = await runner.save("npm-3", b"3" * 10)

    assert await runner.look_up("npm-1") is None
    found = {blob.key.rpartition("/")[2] async for blob in world.parts.blobs.list("cache/")}
    assert {saved, read} < found
    assert oldest not in found
    # another worker has a limit of its own, which its own next save holds it to
    assert await other.look_up("npm-1") is not None


async def test_many_doomed_archives_go_though_one_of_them_cannot(
    world: World, me: Caller, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = await runner_of(world, project)
    ids = [await runner.save(f"npm-{number}", bytes([number])) for number in range(45)]
    delete = DiskBlobs.delete

    async def but_one(self: DiskBlobs, key: str) -> None:
        if key.endswith(sorted(ids)[7]):
            raise StoreUnavailable("the store is away")
        await delete(self, key)

    with monkeypatch.context() as patched:
        patched.setattr(DiskBlobs, "delete", but_one)
        await me.result("DELETE", f"/builds/workers/{project.worker}/caches")

    assert [archive.id for archive in await world.db.read(_archives)] == [sorted(ids)[7]]
    assert len([blob async for blob in world.parts.blobs.list("cache/")]) == 1


async def test_a_store_without_signed_parts_says_so(world: World, project: Project) -> None:
    runner = await runner_of(world, project)
    wanted = {"name": "npm", "version": VERSION, "key": "npm-1"}
    assert await runner.result("POST", "/parts", wanted) == {"upload": None}
    assert await world.db.read(_archives) == []


async def test_uploads_never_finished_and_archives_without_a_key_are_swept(
    world: World, project: Project
) -> None:
    runner = await runner_of(world, project)
    pending = (await runner.announce("npm-1")).json()["result"]["id"]
    await runner.result("PUT", f"/{pending}", content=CONTENT)
    replaced = await runner.save("npm-2", b"old")
    await runner.save("npm-2", b"new")
    await world.parts.caches.sweep()
    assert len(await world.db.read(_archives)) == 3

    for archive_id in (pending, replaced):
        await world.db.write(_age, archive_id, DAY_MS)
    await world.parts.caches.sweep()

    assert len(await world.db.read(_archives)) == 1
    assert len([blob async for blob in world.parts.blobs.list("cache/")]) == 1


async def test_a_purge_removes_everything_of_the_worker_and_of_no_other(
    world: World, me: Caller, project: Project
) -> None:
    runner = await runner_of(world, project)
    other = await runner_of(world, await cached_project(me, "other"))
    for way in ("trigger", "worker"):
        await runner.save("npm-1")
        pending = (await runner.announce("npm-2")).json()["result"]["id"]
        await other.save("npm-1", b"other")

        if way == "trigger":
            path = f"/builds/triggers/{project.trigger}/purge_build_cache"
            assert await me.result("POST", path) is None
        else:
            assert await me.result("DELETE", f"/builds/workers/{project.worker}/caches") is None

        assert await runner.look_up("npm-1", "npm-") is None
        assert (await runner.call("POST", f"/{pending}/complete")).status_code == 404
        assert await other.look_up("npm-1") is not None
        assert await me.result("GET", f"/builds/workers/{project.worker}/caches") == []


async def test_a_worker_that_is_removed_leaves_no_cache(world: World, me: Caller, project: Project) -> None:
    await (await runner_of(world, project)).save("npm-1")

    await me.result("DELETE", f"/workers/workers/{project.worker}")

    assert await world.db.read(_archives) == []
    assert [blob async for blob in world.parts.blobs.list("cache/")] == []


async def test_caches_are_listed(world: World, me: Caller, project: Project) -> None:
    runner = await runner_of(world, project)
    await runner.save("npm-1")

    [cache] = await me.result("GET", f"/builds/workers/{project.worker}/caches")

    assert (cache["name"], cache["key"], cache["branch"], cache["size"]) == (
        "npm",
        "npm-1",
        "main",
        len(CONTENT),
    )
    assert cache["build_uuid"] == runner.build_uuid


async def test_the_caches_of_all_workers_of_an_account_come_in_pages(
    world: World, me: Caller, stranger: Caller, project: Project
) -> None:
    await (await runner_of(world, await cached_project(stranger, "theirs"))).save("npm-1", b"theirs")
    mine = await runner_of(world, project)
    for number in range(3):
        await mine.save(f"npm-{number}", bytes([number]))
    await (await runner_of(world, await cached_project(me, "other"))).save("npm-1", b"other")

    whole = await me.result("GET", "/builds/caches")
    pages = [(await me.call("GET", f"/builds/caches?page={page}&per_page=3")).json() for page in (1, 2)]

    assert [cache["worker"] for cache in whole] == ["other", "hello", "hello", "hello"]
    assert [cache for page in pages for cache in page["result"]] == whole
    assert [page["result_info"]["next_page"] for page in pages] == [2, 0]
    assert pages[0]["result_info"]["total_count"] == 4
    assert {cache["worker"] for cache in await stranger.result("GET", "/builds/caches")} == {"theirs"}
    assert (await me.refusal("GET", "/builds/caches?per_page=0"))[0] == 400
    assert (await me.refusal("GET", "/builds/workers/nobody/caches"))[0] == 404


async def test_showing_many_caches_costs_as_many_statements_as_showing_one(
    world: World, me: Caller, project: Project
) -> None:
    paths = ["/builds/caches", f"/builds/workers/{project.worker}/caches"]
    runner = await runner_of(world, project)
    await runner.save("npm-1")
    few = [await statements(world, me, path) for path in paths]
    for number in range(5):
        await runner.save(f"npm-{number}", bytes([number]))
        await (await runner_of(world, await cached_project(me, f"other-{number}"))).save("npm-1")
    many = [await statements(world, me, path) for path in paths]

    assert few == many
    assert max(many) <= 5


async def test_a_store_that_cannot_delete_now_is_asked_again(
    world: World, me: Caller, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = await runner_of(world, project)
    await runner.save("npm-1")

    async def away(self: DiskBlobs, key: str) -> None:
        raise StoreUnavailable("the store is away")

    with monkeypatch.context() as patched:
        patched.setattr(DiskBlobs, "delete", away)
        await me.result("DELETE", f"/builds/workers/{project.worker}/caches")
        assert await runner.look_up("npm-1") is None
        assert len(await world.db.read(_archives)) == 1

    await world.parts.caches.sweep()
    assert await world.db.read(_archives) == []


async def test_an_archive_lost_by_the_store_is_told(world: World, project: Project) -> None:
    runner = await runner_of(world, project)
    archive_id = await runner.save("npm-1")
    [key] = [blob.key async for blob in world.parts.blobs.list("cache/")]
    await world.parts.blobs.delete(key)

    assert (await runner.call("GET", f"/{archive_id}")).status_code == 404


async def test_a_runner_whose_attempt_has_ended_reads_and_writes_nothing(
    world: World, project: Project
) -> None:
    runner = await runner_of(world, project)
    archive_id = await runner.save("npm-1")
    await world.report(
        runner.build_uuid, runner.token, status="stopped", outcome="success", chunks=0, exit_code=0
    )

    assert (await runner.announce("npm-2")).status_code == 409
    assert (await runner.call("GET", f"/{archive_id}")).status_code == 409


def _archives(session: Session) -> list[CacheArchive]:
    return list(session.exec(select(CacheArchive)))


def _age(session: Session, archive_id: str, by: int) -> None:
    moment = now_ms() - by
    session.execute(
        update(CacheArchive)
        .where(col(CacheArchive.id) == archive_id)
        .values(created_on=moment, read_on=moment)
    )
    session.execute(
        update(CacheEntry).where(col(CacheEntry.archive_id) == archive_id).values(created_on=moment)
    )
