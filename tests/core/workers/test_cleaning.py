"""Clearing away what nothing needs, and whatever may come between."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from sqlmodel import select
from tests.core.workers.conftest import Platform, manifest_of

from kedge.cleaning.cleaner import Cleaner
from kedge.cleaning.needed_files import NeededFiles
from kedge.config.settings import RetentionSettings
from kedge.db.clock import now_ms
from kedge.db.queries import doomed as queries
from kedge.db.tables import Attempt, Build, Deployment, DoomedBlob, Version
from kedge.errors import Conflict, StoreRefused, StoreUnavailable
from kedge.testing.blobs import keys
from kedge.testing.memory import MemoryBlobs
from kedge.workers import doomed as doomed_module
from kedge.workers.completion import Wish
from kedge.workers.doomed import DoomedBlobs
from kedge.workers.manifest import Manifest, file_key, manifest_key
from kedge.workers.versions import NewVersion

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlmodel import Session

    from kedge.cleaning.report import Report
    from kedge.db.engine import Database

FEW = RetentionSettings(versions=1, versions_for=0, deployments=1)
ACCOUNT = "a" * 32


class SlowBlobs(MemoryBlobs):
    """A store whose deletions wait for a test, and fail if it says so."""

    shared: bool = True

    def __init__(self, settings: Any = None, host: Any = None) -> None:
        super().__init__(settings, host)
        self.deleting = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.error: Exception | None = None

    async def delete(self, key: str) -> None:
        self.deleting.set()
        await self.go_on.wait()
        if self.error is not None:
            raise self.error
        await super().delete(key)

    def hold(self) -> None:
        self.deleting.clear()
        self.go_on.clear()


@pytest.fixture
def store() -> SlowBlobs:
    return SlowBlobs()


@pytest.fixture
async def slow(db: Database, store: SlowBlobs) -> Platform:
    """A node over that store."""
    made = Platform(db, store)
    await made.add_worker("hello")
    return made


def cleaner_of(
    platform: Platform, settings: RetentionSettings = FEW, *, young: timedelta = timedelta(0), **kwargs: Any
) -> Cleaner:
    doomed = kwargs.get("doomed", platform.doomed)
    return Cleaner(platform.db, platform.blobs, doomed, settings, platform.deployments.tell, young=young)


def digest_of(content: bytes) -> str:
    return sha256(content).hexdigest()


def key_of(content: bytes) -> str:
    return file_key(ACCOUNT, digest_of(content))


def counts(report: Report) -> dict[str, int]:
    return {kind: amount.count for kind, amount in report.blobs.items() if amount.count}


def rows(session: Session) -> list[str]:
    return list(session.exec(select(DoomedBlob.key)))


async def numbers(platform: Platform) -> list[int]:
    versions, _ = await platform.versions.page(ACCOUNT, "hello", limit=50, offset=0)
    return [version.number for version in versions]


async def test_a_version_that_no_rule_keeps_goes_with_the_files_that_were_its_own(platform: Platform) -> None:
    await platform.upload({"a": b"old", "b": b"common"})
    await platform.upload({"b": b"common", "c": b"new"})
    cleaner = cleaner_of(platform)

    seen = await cleaner.look()
    assert [version.number for version in seen.versions] == [1]
    assert counts(seen) == {"files": 1, "manifests": 1}
    assert seen.size == 3 + len(manifest_of({"a": b"old", "b": b"common"}).json)
    assert await numbers(platform) == [2, 1]
    gone = await cleaner.clean()

    assert (gone.blobs, gone.count) == (seen.blobs, 2)
    assert await numbers(platform) == [2]
    assert sorted(await keys(platform.blobs, "files/")) == sorted([key_of(b"common"), key_of(b"new")])
    assert await keys(platform.blobs, "manifests/") == [
        manifest_key(ACCOUNT, manifest_of({"b": b"common", "c": b"new"}).digest)
    ]
    assert await platform.db.read(rows) == []
    assert counts(await cleaner.clean()) == {}


async def test_what_serves_or_is_about_to_has_an_alias_or_is_new_stays(platform: Platform) -> None:
    made = [await platform.upload({"a": b"served before"})]
    made.append(await platform.upload({"a": b"serves"}))
    made.append(await platform.upload({"a": b"alias"}, deploy=False, alias="staging"))
    made.append(await platform.upload({"a": b"starts"}, deploy=False))
    made += [await platform.upload({"a": b"%d" % number}, deploy=False) for number in range(3)]

    def start(session: Session) -> None:
        deployment = session.exec(select(Deployment)).first()
        assert deployment is not None
        waiting: dict[str, Any] = deployment.model_dump(exclude={"id"})
        versions = [{"version_id": made[3].version_id, "percentage": 100}]
        waiting |= {"uuid": "waiting", "state": "starting", "versions": versions}
        session.add(Deployment(**waiting))

    await platform.db.write(start)

    async def expired(**rules: Any) -> list[int]:
        settings = RetentionSettings(**{"versions": 1, "versions_for": 0, "deployments": 1, **rules})
        return [one.number for one in (await cleaner_of(platform, settings).look()).versions]

    assert await expired() == [1, 5, 6]
    assert await expired(deployments=2) == [5, 6]
    assert await expired(versions=3) == [1]
    assert await expired(versions_for=3600) == []
    await cleaner_of(platform).clean()
    assert await numbers(platform) == [7, 4, 3, 2]


async def test_what_is_young_in_the_store_is_not_looked_at(platform: Platform) -> None:
    await platform.blobs.put(key_of(b"left"), b"left")
    assert counts(await cleaner_of(platform, young=timedelta(hours=1)).clean()) == {}
    assert counts(await cleaner_of(platform).clean()) == {"files": 1}


async def test_what_belongs_to_nobody_goes_and_what_is_not_kedges_stays(platform: Platform) -> None:
    tag = "0" * 32
    build = await platform.add_build(tag)
    stay = [
        f"logs/{build[:2]}/{build}.1.zst",
        f"logs/00/{tag}-12345678.3.zst",
        "logs/strange",
        "files/strange",
        "manifests/a/b/c/strange",
        "cache/strange",
        "plugins/own",
    ]
    go = [
        f"cache/{ACCOUNT}/{tag}/gone",
        "logs/ab/abcd.1.idx",
        "logs/ab/abcd.1.zst",
        f"logs/ff/{'f' * 32}-12345678.3.zst",
    ]
    await platform.db.write(_add_attempt, build)
    for key in stay + go:
        await platform.blobs.put(key, b"")

    report = await cleaner_of(platform).clean()

    assert counts(report) == {"cache": 1, "logs": 3}
    assert [key for key in await keys(platform.blobs) if not key.startswith("owners/")] == sorted(stay)


def _add_attempt(session: Session, build_uuid: str) -> None:
    build = session.exec(select(Build).where(Build.build_uuid == build_uuid)).one()
    attempt = Attempt(
        build_id=build.id or 0,
        number=1,
        account_id=ACCOUNT,
        build_uuid=build_uuid,
        token_hash="one",
        deploy_token_hash="other",
        node="node",
        compute="fake",
        location="local",
        started_on=1,
    )
    session.add(attempt)


async def test_of_an_account_nothing_but_its_own_is_seen(platform: Platform) -> None:
    await platform.add_worker("hello", account="other")
    other = platform.principal_of("other")
    for principal in (platform.principal, other):
        await platform.upload({"a": b"old"}, principal=principal)
        await platform.upload({"a": b"new"}, principal=principal)

    report = await cleaner_of(platform).clean(other.account_id)

    assert [version.account_id for version in report.versions] == [other.account_id]
    assert counts(report) == {"files": 1, "manifests": 1}
    assert await numbers(platform) == [2, 1]
    assert key_of(b"old") in await keys(platform.blobs)


# ---- uploads under way


async def test_an_upload_under_way_keeps_what_it_will_need(platform: Platform) -> None:
    await platform.upload({"a": b"old"})
    await platform.upload({"a": b"new"})
    new = NewVersion(manifest=manifest_of({"a": b"old"}))
    begun = await platform.versions.begin(platform.principal, "hello", new)
    assert begun.missing == []

    assert counts(await cleaner_of(platform).clean()) == {}

    wish = Wish(deploy=True, alias=None, urls=platform.urls)
    await platform.versions.complete(platform.principal, "hello", begun.upload_id, wish)
    assert counts(await cleaner_of(platform).clean()) == {"files": 1, "manifests": 1}
    assert await keys(platform.blobs, "files/") == [key_of(b"old")]


async def test_an_upload_that_needs_what_is_being_deleted_waits_and_sends_it_again(
    slow: Platform, store: SlowBlobs
) -> None:
    await slow.upload({"a": b"old"})
    await slow.upload({"a": b"new"})
    store.hold()
    cleaning = asyncio.create_task(cleaner_of(slow).clean())
    await store.deleting.wait()

    upload = asyncio.create_task(slow.upload({"a": b"old"}))
    other = await slow.upload({"a": b"quite another"})
    assert other.number == 3
    assert not upload.done()
    store.go_on.set()

    # the manifest too, if the upload became known only after the cleaner had looked: it is stored again
    cleaned = counts(await cleaning)
    assert cleaned in ({"files": 1}, {"files": 1, "manifests": 1})
    assert (await upload).number == 4
    assert store.shelf[key_of(b"old")].data == b"old"
    assert manifest_key(ACCOUNT, manifest_of({"a": b"old"}).digest) in store.shelf


async def test_an_upload_that_begins_between_the_look_and_the_deletion_loses_nothing(slow: Platform) -> None:
    await slow.upload({"a": b"old"})
    await slow.upload({"a": b"new"})
    begun: list[Any] = []

    class Late(DoomedBlobs):
        async def delete(self, keys: Any, needed: Callable[..., Any]) -> list[str]:
            new = NewVersion(manifest=manifest_of({"a": b"old", "b": b"more"}))
            begun.append(await slow.versions.begin(slow.principal, "hello", new))
            return await super().delete(keys, needed)

    report = await cleaner_of(slow, doomed=Late(slow.db, slow.blobs, "node")).clean()

    assert begun[0].missing == [digest_of(b"more")]
    assert report.blobs["files"].count == 0
    assert key_of(b"old") in await keys(slow.blobs)


async def test_a_manifest_that_goes_before_its_upload_is_known_is_stored_again(
    slow: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = slow.blobs.put
    cleaned: list[str] = []

    async def put_and_clean(key: str, data: Any) -> None:
        await put(key, data)
        if key.startswith("manifests/") and not cleaned:
            cleaned.append(key)
            await cleaner_of(slow).clean()
            assert key not in await keys(slow.blobs, "manifests/")

    monkeypatch.setattr(slow.blobs, "put", put_and_clean)
    made = await slow.upload({"a": b"1"})

    await _require_whole(slow, await slow.versions.get(ACCOUNT, "hello", made.version_id))


async def test_uploads_and_cleaners_of_many_nodes_at_once_lose_no_file(slow: Platform, db: Database) -> None:
    """Every version that was completed is whole, however often its files came and went before."""
    bodies = [b"%d" % number for number in range(6)]
    trees = [dict(zip("ab", two, strict=True)) for two in itertools.combinations(bodies, 2)]
    busy = True

    async def clean(node: str) -> None:
        cleaner = cleaner_of(slow, doomed=DoomedBlobs(db, slow.blobs, node))
        while busy:
            await cleaner.clean()

    cleaners = [asyncio.create_task(clean(node)) for node in ("one", "other")]
    try:
        for start in range(0, 45, 3):
            wanted = [trees[(start + step * 4) % len(trees)] for step in range(3)]
            made = await asyncio.gather(*[slow.upload(tree) for tree in wanted])
            # only what is completed last serves; the others are let go of at once
            serving = max(made, key=lambda one: one.number)
            version = await slow.versions.get(ACCOUNT, "hello", serving.version_id)
            await _require_whole(slow, version)
    finally:
        busy = False
        await asyncio.gather(*cleaners)
    await cleaner_of(slow).clean()
    assert (await numbers(slow))[0] == 45
    assert len(await keys(slow.blobs, "manifests/")) <= 2
    assert await slow.db.read(rows) == []


async def _require_whole(platform: Platform, version: Version) -> None:
    key = manifest_key(version.account_id, version.digest)
    data = b"".join([part async for part in platform.blobs.get(key)])
    for file in Manifest.from_json(data).files.values():
        await platform.blobs.stat(file_key(version.account_id, file.sha256))


# ---- what goes wrong


async def test_what_a_node_that_was_ended_had_doomed_it_deletes_when_it_is_back(
    slow: Platform, store: SlowBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.put(key_of(b"left"), b"left")
    store.hold()
    cleaning = asyncio.create_task(cleaner_of(slow).clean())
    await store.deleting.wait()
    cleaning.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cleaning
    store.go_on.set()
    assert await slow.db.read(rows) == [key_of(b"left")]
    await DoomedBlobs(slow.db, store, "stranger").delete_left()
    assert await slow.db.read(rows) == [key_of(b"left")]

    await DoomedBlobs(slow.db, store, "node").delete_left()

    assert (await slow.db.read(rows), await keys(store, "files/")) == ([], [])


async def test_what_a_lost_node_had_doomed_an_upload_deletes_itself(slow: Platform, store: SlowBlobs) -> None:
    await store.put(key_of(b"left"), b"left")

    def doom(session: Session) -> None:
        queries.add(session, [key_of(b"left")], store="", node="lost", now=now_ms() - 3600_000)

    await slow.db.write(doom)

    made = await slow.upload({"a": b"left"})

    assert made.live
    assert await slow.db.read(rows) == []
    assert store.shelf[key_of(b"left")].data == b"left"


async def test_an_upload_does_not_wait_for_ever(slow: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doomed_module, "PATIENCE_SECONDS", 0)
    doom = lambda session: queries.add(session, [key_of(b"x")], store="", node="b", now=now_ms())  # noqa: E731
    await slow.db.write(doom)
    with pytest.raises(StoreUnavailable, match="try again in a minute"):
        await slow.upload({"a": b"x"})


async def test_what_the_store_refuses_to_delete_can_be_used_again_at_once(
    slow: Platform, store: SlowBlobs
) -> None:
    await store.put(key_of(b"left"), b"left")
    store.error = StoreRefused("no right to delete")
    assert counts(await cleaner_of(slow).clean()) == {}
    assert (await slow.db.read(rows), store.shelf[key_of(b"left")].data) == ([], b"left")


async def test_what_the_store_may_or_may_not_have_deleted_stays_doomed_until_it_surely_has(
    slow: Platform, store: SlowBlobs
) -> None:
    await store.put(key_of(b"left"), b"left")
    store.error = StoreUnavailable("no answer")
    assert counts(await cleaner_of(slow).clean()) == {}
    assert await slow.db.read(rows) == [key_of(b"left")]
    store.error = None
    await DoomedBlobs(slow.db, store, "node").delete_left()
    assert (await slow.db.read(rows), await keys(store, "files/")) == ([], [])


async def test_a_manifest_that_cannot_be_read_keeps_every_file(platform: Platform) -> None:
    await platform.upload({"a": b"one"})
    await platform.upload({"a": b"two"})
    await platform.blobs.put(key_of(b"left"), b"left")
    [broken] = [manifest_key(ACCOUNT, manifest_of({"a": b"two"}).digest)]
    await platform.blobs.delete(broken)

    report = await cleaner_of(platform).clean()

    assert broken in (report.blobs["files"].trouble or "")
    assert len(await keys(platform.blobs, "files/")) == 3
    assert counts(report) == {"manifests": 1}


async def test_where_another_database_keeps_blobs_too_nothing_is_touched(platform: Platform) -> None:
    await platform.upload({"a": b"one"})
    await platform.blobs.put(key_of(b"theirs"), b"theirs")
    await platform.blobs.put("owners/another", b"")

    for call in (cleaner_of(platform).look, cleaner_of(platform).clean):
        with pytest.raises(Conflict, match=r"prefix or a folder of its own.*owners/another"):
            await call()

    assert key_of(b"theirs") in await keys(platform.blobs)


async def test_one_node_of_many_cleans_once_a_day(platform: Platform) -> None:
    def begin(session: Session, now: int) -> bool:
        return queries.begin_cleaning(session, "", now=now, last_before=now - 1000)

    begun = await asyncio.gather(*[platform.db.write(begin, 5000) for _ in range(5)])
    assert Counter(begun) == {False: 4, True: 1}
    assert not await platform.db.write(begin, 6000)
    assert await platform.db.write(begin, 6001)


def test_the_filter_forgets_nothing_and_is_seldom_wrong() -> None:
    needed = NeededFiles()
    digests = [digest_of(b"%d" % number) for number in range(20_000)]
    needed.add("account", digests[:10_000])
    assert all(needed.has("account", digest) for digest in digests[:10_000])
    assert sum(needed.has("account", digest) for digest in digests[10_000:]) < 5
    assert sum(needed.has("other", digest) for digest in digests[:10_000]) < 5
