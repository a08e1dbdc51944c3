from __future__ import annotations

import asyncio
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from sqlmodel import select

from kedge.db.queries import versions as queries
from kedge.db.tables import Build, PreviewAlias, Upload
from kedge.errors import BlobNotFound, Conflict, Forbidden, InvalidInput, NotFound, StaleAttempt, TooLarge
from kedge.workers import deployments as deployments_module
from kedge.workers import manifest as manifest_module
from kedge.workers.completion import Wish
from kedge.workers.deployments import Share
from kedge.workers.manifest import File, Manifest, check, file_key
from kedge.workers.versions import NewVersion, Versions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlmodel import Session

FILES = {"index.html": b"<h1>Hello</h1>", "style/main.css": b"h1 { color: teal }"}


def digest_of(content: bytes) -> str:
    return sha256(content).hexdigest()


def manifest_of(files: dict[str, bytes]) -> Manifest:
    return Manifest({path: File(digest_of(content), len(content)) for path, content in files.items()})


def new(files: dict[str, bytes]) -> NewVersion:
    return NewVersion(manifest=manifest_of(files))


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def test_a_version_is_live_when_the_upload_is_complete(platform: Any) -> None:
    made = await platform.upload(FILES, message="first")

    assert (made.number, made.url) == (1, "http://hello.localhost:8787/")
    assert made.preview_url == f"http://{made.version_id[:8]}-hello.localhost:8787/"
    current = await platform.deployments.current(platform.principal.account_id, "hello")
    assert current.versions == [{"version_id": made.version_id, "percentage": 100}]
    version = await platform.versions.get(platform.principal.account_id, "hello", made.version_id)
    assert (version.file_count, version.byte_count, version.message) == (2, 32, "first")


async def test_only_files_that_are_new_travel(platform: Any) -> None:
    await platform.upload(FILES)
    begun = await platform.versions.begin(
        platform.principal, "hello", new({**FILES, "more.txt": b"more", "copy.html": FILES["index.html"]})
    )

    assert begun.missing == [digest_of(b"more")]


async def test_the_same_files_again_are_a_new_version_of_the_same_digest(platform: Any) -> None:
    first, second = await platform.upload(FILES), await platform.upload(dict(reversed(FILES.items())))
    versions, total = await platform.versions.page(platform.principal.account_id, "hello", limit=10, offset=0)

    assert (first.number, second.number, total) == (1, 2, 2)
    assert [version.id for version in versions] == [second.version_id, first.version_id]
    assert versions[0].digest == versions[1].digest


async def test_another_account_cannot_tell_which_files_there_are(platform: Any) -> None:
    await platform.upload(FILES)
    await platform.add_worker("hello", account="other")
    begun = await platform.versions.begin(platform.principal_of("other"), "hello", new(FILES))

    assert len(begun.missing) == len(FILES)


async def test_an_upload_is_not_complete_while_a_file_is_missing(platform: Any) -> None:
    begun = await platform.versions.begin(platform.principal, "hello", new(FILES))
    wish = Wish(deploy=True, alias=None, urls=platform.urls)

    with pytest.raises(Conflict, match=digest_of(FILES["index.html"])):
        await platform.versions.complete(platform.principal, "hello", begun.upload_id, wish)
    assert await platform.deployments.current(platform.principal.account_id, "hello") is None


@pytest.mark.parametrize(
    "body",
    [(b"",), (b"<h1>HELLO</h1>",), (b"<h1>Hello</h1>", b"more"), (b"<h1>Hel",), (b"x" * 100,) * 1000],
)
async def test_a_content_that_is_not_what_was_promised_is_not_stored(
    platform: Any, body: tuple[bytes, ...]
) -> None:
    begun = await platform.versions.begin(platform.principal, "hello", new(FILES))
    digest = digest_of(FILES["index.html"])

    with pytest.raises(InvalidInput, match="send it again"):
        await platform.versions.put_file(platform.principal, "hello", begun.upload_id, digest, pieces(*body))
    with pytest.raises(BlobNotFound):
        await platform.blobs.stat(file_key(platform.principal.account_id, digest))


@pytest.mark.parametrize("digest", ["0" * 64, "../../x", "", digest_of(b"x")])
async def test_a_content_that_the_manifest_does_not_name_is_refused(platform: Any, digest: str) -> None:
    begun = await platform.versions.begin(platform.principal, "hello", new(FILES))

    with pytest.raises(InvalidInput, match="names no file"):
        await platform.versions.put_file(platform.principal, "hello", begun.upload_id, digest, pieces(b"x"))


async def test_completing_twice_makes_one_version(platform: Any) -> None:
    await platform.upload(FILES)
    begun = await platform.versions.begin(platform.principal, "hello", new(FILES))
    wish = Wish(deploy=True, alias="next", urls=platform.urls)
    made = await asyncio.gather(
        *(platform.versions.complete(platform.principal, "hello", begun.upload_id, wish) for _ in range(5))
    )

    assert made == [made[0]] * 5
    assert made[0].number == 2
    assert len(await platform.deployments.list(platform.principal.account_id, "hello")) == 2


async def test_concurrent_uploads_get_numbers_of_their_own(platform: Any) -> None:
    made = await asyncio.gather(*(platform.upload({"n": str(n).encode()}) for n in range(8)))

    assert sorted(version.number for version in made) == list(range(1, 9))


async def test_an_upload_goes_on_after_a_restart_of_the_node(platform: Any) -> None:
    begun = await platform.versions.begin(platform.principal, "hello", new(FILES))
    first, second = FILES.values()
    await platform.versions.put_file(
        platform.principal, "hello", begun.upload_id, digest_of(first), pieces(first)
    )
    restarted = Versions(platform.db, platform.blobs, platform.deployments, platform.doomed)
    await restarted.put_file(platform.principal, "hello", begun.upload_id, digest_of(second), pieces(second))
    wish = Wish(deploy=True, alias=None, urls=platform.urls)

    assert (await restarted.complete(platform.principal, "hello", begun.upload_id, wish)).number == 1


async def test_an_upload_belongs_to_who_began_it(platform: Any) -> None:
    begun = await platform.versions.begin(platform.principal, "hello", new(FILES))
    await platform.add_worker("second")
    stranger = replace(platform.principal, build_uuid="b")
    for principal, worker in ((stranger, "hello"), (platform.principal, "second")):
        with pytest.raises(NotFound):
            await platform.versions.put_file(
                principal, worker, begun.upload_id, digest_of(FILES["index.html"]), pieces(b"")
            )
    with pytest.raises(NotFound):
        await platform.versions.put_file(platform.principal, "hello", "no-such", "0" * 64, pieces(b""))


async def test_a_build_deploys_its_own_worker_and_is_told_its_version(platform: Any) -> None:
    build = await platform.add_build("0" * 32)
    made = await platform.upload(FILES, principal=platform.build_principal(build))

    def read(session: Session) -> Build:
        return session.exec(select(Build).where(Build.build_uuid == build)).one()

    assert (await platform.db.read(read)).version_id == made.version_id
    [deployment] = await platform.deployments.list(platform.principal.account_id, "hello")
    assert (deployment.source, deployment.author) == ("build", "Ann")
    assert platform.events[0].build_uuid == build
    version = await platform.versions.get(platform.principal.account_id, "hello", made.version_id)
    assert (version.branch, version.commit_hash, version.message) == ("main", "0" * 40, "Say hello")


async def test_a_build_deploys_no_other_worker(platform: Any) -> None:
    build = await platform.add_build("0" * 32)
    await platform.add_worker("second")

    with pytest.raises(Forbidden):
        await platform.upload(FILES, worker="second", principal=platform.build_principal(build))


async def test_a_preview_build_does_not_reach_production(platform: Any) -> None:
    principal = platform.build_principal(await platform.add_build("0" * 32, is_production=False))

    with pytest.raises(Forbidden, match="preview of the branch 'feature'"):
        await platform.upload(FILES, principal=principal)
    made = await platform.upload(FILES, principal=principal, deploy=False, alias="feature")
    assert made.alias_url == "http://feature-hello.localhost:8787/"
    assert await platform.deployments.current(platform.principal.account_id, "hello") is None


async def test_a_cancelled_build_deploys_nothing(platform: Any) -> None:
    build = await platform.add_build("0" * 32)
    principal = platform.build_principal(build)
    begun = await platform.versions.begin(principal, "hello", new(FILES))
    for content in FILES.values():
        await platform.versions.put_file(
            principal, "hello", begun.upload_id, digest_of(content), pieces(content)
        )

    def cancel(session: Session) -> None:
        session.exec(select(Build).where(Build.build_uuid == build)).one().cancel_requested = True

    await platform.db.write(cancel)
    with pytest.raises(StaleAttempt):
        await platform.versions.complete(
            principal, "hello", begun.upload_id, Wish(deploy=True, alias=None, urls=platform.urls)
        )


async def test_a_build_neither_rolls_back_nor_deploys_versions_of_others(platform: Any) -> None:
    made = await platform.upload(FILES)
    principal = platform.build_principal(await platform.add_build("0" * 32))

    with pytest.raises(Forbidden):
        await platform.deployments.deploy(
            principal, "hello", [Share(version_id=made.version_id)], urls=platform.urls
        )
    with pytest.raises(Forbidden):
        await platform.deployments.rollback(principal, "hello", urls=platform.urls)


async def test_a_manifest_that_cannot_be_is_refused_with_its_files_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(InvalidInput, match=r"wrong are '\.\./x', 'a//b'"):
        check(manifest_of({"../x": b"", "fine": b"", "a//b": b""}))
    with pytest.raises(InvalidInput, match="no files"):
        check(Manifest({}))
    with pytest.raises(InvalidInput, match="several sizes"):
        check(Manifest({"a": File("0" * 64, 1), "b": File("0" * 64, 2)}))
    with pytest.raises(TooLarge, match=r"25 MiB; larger are 'big\.bin'"):
        check(Manifest({"big.bin": File("0" * 64, 25 * 1024 * 1024 + 1)}))
    with pytest.raises(TooLarge, match="20001 files"):
        check(Manifest({str(n): File("0" * 64, 1) for n in range(20_001)}))
    monkeypatch.setattr(manifest_module, "LARGEST_VERSION", 1024 * 1024)
    with pytest.raises(TooLarge, match="1 MiB"):
        check(Manifest({str(n): File(f"{n:064}", 600_000) for n in range(2)}))


async def test_paths_that_differ_by_case_are_different_files(platform: Any) -> None:
    check(manifest_of({"A.txt": b"1", "a.txt": b"2"}))


async def test_old_uploads_are_forgotten(platform: Any) -> None:
    kept = await platform.versions.begin(platform.principal, "hello", new(FILES))
    old = await platform.versions.begin(platform.principal, "hello", new(FILES))

    def age(session: Session) -> None:
        session.get_one(Upload, old.upload_id).created_on -= 24 * 3600 * 1000 + 1

    await platform.db.write(age)
    assert await platform.versions.sweep() == 1
    with pytest.raises(NotFound):
        await platform.versions.put_file(platform.principal, "hello", old.upload_id, "0" * 64, pieces(b""))
    assert (await platform.db.read(queries.find_upload, kept.upload_id))[0].id == kept.upload_id


async def test_only_the_most_recent_aliases_stay(platform: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deployments_module, "MOST_ALIASES", 2)
    for alias in ("one", "two", "one", "three"):
        await platform.upload(FILES, deploy=False, alias=alias)

    def read(session: Session) -> set[str]:
        return set(session.exec(select(PreviewAlias.alias)))

    assert "three" in (left := await platform.db.read(read))
    assert len(left) == 2


async def test_an_alias_that_is_no_label_is_refused(platform: Any) -> None:
    with pytest.raises(InvalidInput):
        await platform.upload(FILES, deploy=False, alias="Not A Label")


async def test_plugins_hear_of_everything_that_begins_to_serve(platform: Any) -> None:
    await platform.upload(FILES)
    await platform.upload(FILES, deploy=False, alias="next")
    await platform.upload(FILES, deploy=False)

    assert [(event.url, event.alias) for event in platform.events] == [
        ("http://hello.localhost:8787/", None),
        ("http://next-hello.localhost:8787/", "next"),
    ]


async def test_a_rollback_goes_to_the_version_before(platform: Any) -> None:
    first = await platform.upload(FILES)
    second = await platform.upload(FILES)
    await platform.deployments.deploy(
        platform.principal, "hello", [Share(version_id=second.version_id)], urls=platform.urls
    )
    back = await platform.deployments.rollback(platform.principal, "hello", urls=platform.urls)

    assert back.versions[0]["version_id"] == first.version_id
    assert back.source == "rollback"


async def test_a_rollback_may_name_its_version(platform: Any) -> None:
    first = await platform.upload(FILES)
    for _ in range(3):
        await platform.upload(FILES)
    back = await platform.deployments.rollback(
        platform.principal, "hello", first.version_id, urls=platform.urls
    )

    assert back.versions[0]["version_id"] == first.version_id


async def test_there_is_nothing_to_roll_back_to_before_the_second_version(platform: Any) -> None:
    with pytest.raises(Conflict):
        await platform.deployments.rollback(platform.principal, "hello", urls=platform.urls)
    await platform.upload(FILES)
    with pytest.raises(Conflict):
        await platform.deployments.rollback(platform.principal, "hello", urls=platform.urls)


async def test_a_version_of_another_worker_is_not_found(platform: Any) -> None:
    await platform.add_worker("second")
    made = await platform.upload(FILES, worker="second")

    with pytest.raises(NotFound):
        await platform.deployments.deploy(
            platform.principal, "hello", [Share(version_id=made.version_id)], urls=platform.urls
        )
    with pytest.raises(NotFound):
        await platform.versions.get(platform.principal.account_id, "hello", made.version_id)


async def test_a_worker_is_found_by_its_tag_too(platform: Any) -> None:
    assert (await platform.upload(FILES, worker="0" * 32)).number == 1
    with pytest.raises(NotFound, match="kedge worker list"):
        await platform.upload(FILES, worker="nobody")


async def test_the_url_of_a_name_that_is_taken_names_the_account(platform: Any) -> None:
    await platform.add_worker("hello", account="other")
    made = await platform.upload(FILES, principal=platform.principal_of("other"), alias="next")

    assert made.url == "http://hello.other.localhost:8787/"
    assert made.alias_url == "http://next-hello.other.localhost:8787/"
