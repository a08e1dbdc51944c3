"""Archives from an attacker: nothing is made outside of the folder, and the reason is told."""

from __future__ import annotations

import errno
import os
import tarfile
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.runner.cache.archives import archive, member, unpack

from kedge_runner.cache.errors import CacheFailed
from kedge_runner.cache.names import link_stays

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = (member("repo/out", tarfile.DIRTYPE, mode=0o755), b"")
HOSTILE = {
    "an absolute name": [(member("/etc/cron.d/x"), b"x")],
    "a name that climbs": [(member("repo/out/../../../x"), b"x")],
    "a name that climbs at its end": [(member("repo/out/.."), b"x")],
    "a name outside of the declared paths": [(member("repo/.git/hooks/pre-commit"), b"x")],
    "a name that only begins like a declared path": [(member("repo/outside/x"), b"x")],
    "the folder of a declared path": [(member("repo", tarfile.DIRTYPE), b"")],
    "an empty part": [FOLDER, (member("repo/out//x"), b"x")],
    "a single dot": [FOLDER, (member("repo/out/./x"), b"x")],
    "an absolute link": [FOLDER, (member("repo/out/l", tarfile.SYMTYPE, link="/etc/passwd"), b"")],
    "a link that climbs": [FOLDER, (member("repo/out/l", tarfile.SYMTYPE, link="../../x"), b"")],
    "a link that climbs after a name": [
        FOLDER,
        (member("repo/out/d", tarfile.SYMTYPE, link="."), b""),
        (member("repo/out/l", tarfile.SYMTYPE, link="d/../../../x"), b""),
    ],
    "a file below a link": [
        FOLDER,
        (member("repo/out/l", tarfile.SYMTYPE, link="other"), b""),
        (member("repo/out/l/x"), b"x"),
    ],
    "a file in the place of a link": [
        FOLDER,
        (member("repo/out/l", tarfile.SYMTYPE, link="target"), b""),
        (member("repo/out/l"), b"x"),
    ],
    "a folder in the place of a link": [
        FOLDER,
        (member("repo/out/l", tarfile.SYMTYPE, link="target"), b""),
        (member("repo/out/l", tarfile.DIRTYPE), b""),
    ],
    "the same file twice": [FOLDER, (member("repo/out/x"), b"1"), (member("repo/out/x"), b"2")],
    "a hard link": [FOLDER, (member("repo/out/h", tarfile.LNKTYPE, link="/etc/passwd"), b"")],
    "a device": [FOLDER, (member("repo/out/d", tarfile.CHRTYPE), b"")],
    "a block device": [FOLDER, (member("repo/out/d", tarfile.BLKTYPE), b"")],
    "a fifo": [FOLDER, (member("repo/out/f", tarfile.FIFOTYPE), b"")],
    "a file without its folder": [FOLDER, (member("repo/out/missing/x"), b"x")],
    "a name of endless depth": [FOLDER, (member("repo/out" + "/a" * 200), b"x")],
    "a name that is too long": [FOLDER, (member("repo/out/" + "a" * 5000), b"x")],
    "a link that is too long": [FOLDER, (member("repo/out/l", tarfile.SYMTYPE, link="a" * 5000), b"")],
    "an empty link": [FOLDER, (member("repo/out/l", tarfile.SYMTYPE, link=""), b"")],
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    (tmp_path / "victim").write_text("safe")
    return tmp_path / "root"


def everything(folder: Path) -> dict[str, bytes | str | None]:
    """What lies beside the root."""
    found: dict[str, bytes | str | None] = {}
    for path in sorted(folder.rglob("*")):
        if "root" not in path.relative_to(folder).parts:
            found[str(path)] = path.read_bytes() if path.is_file() else None
    return found


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_member_is_refused(name: str, root: Path) -> None:
    with pytest.raises(CacheFailed):
        unpack(archive(HOSTILE[name]), root)

    assert everything(root.parent) == {str(root.parent / "victim"): b"safe"}


def test_pax_headers_which_could_rename_what_follows_are_refused(root: Path) -> None:
    info = member("repo/out/x")
    info.pax_headers = {"path": "../../victim"}

    with pytest.raises(CacheFailed, match="leads elsewhere"):
        unpack(archive([FOLDER, (info, b"x")], tarfile.PAX_FORMAT), root)


def test_rights_beyond_the_plain_ones_are_dropped(root: Path) -> None:
    unpack(archive([FOLDER, (member("repo/out/x", mode=0o6755), b"x")]), root)

    assert (root / "repo/out/x").stat().st_mode & 0o7777 == 0o755 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_more_bytes_than_an_archive_of_its_size_may_hold_are_refused(root: Path) -> None:
    info = member("repo/out/x")
    info.size = 300 * 1024 * 1024
    data = FOLDER[0].tobuf(tarfile.GNU_FORMAT) + info.tobuf(tarfile.GNU_FORMAT)

    with pytest.raises(CacheFailed, match="more than the"):
        unpack(data, root)

    assert not (root / "repo/out/x").exists()


def test_more_members_than_allowed_are_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kedge_runner.cache.limits.MOST_MEMBERS", 3)
    members = [FOLDER, *((member(f"repo/out/{number}"), b"x") for number in range(3))]

    with pytest.raises(CacheFailed, match="more than 3 files"):
        unpack(archive(members), root)


@pytest.mark.parametrize("size", [0, 100, 512, 700, 1024])
def test_an_archive_that_ends_too_early_is_refused(size: int, root: Path) -> None:
    data = archive([FOLDER, (member("repo/out/x"), b"x" * 600)])

    with pytest.raises(CacheFailed, match="too early"):
        unpack(data[:size], root)


def test_what_follows_the_end_is_refused(root: Path) -> None:
    with pytest.raises(CacheFailed, match="follows its end"):
        unpack(archive([FOLDER]) + b"more", root)


def test_a_damaged_header_is_refused(root: Path) -> None:
    data = bytearray(archive([FOLDER]))
    data[124:136] = b"not a number"

    with pytest.raises(CacheFailed, match="damaged"):
        unpack(bytes(data), root)


def test_a_size_below_nothing_is_refused(root: Path) -> None:
    """It would give back budget, and never be copied to its end."""
    data = bytearray(archive([FOLDER, (member("repo/out/x"), b"x" * 600)]))
    data[512 + 124 : 512 + 136] = b"-0000000001\0"

    with pytest.raises(CacheFailed, match="damaged"):
        unpack(bytes(data), root)


def test_padding_without_end_is_refused(root: Path) -> None:
    with pytest.raises(CacheFailed, match="follows its end"):
        unpack(archive([FOLDER]) + bytes(3 * 1024 * 1024), root)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
def test_a_name_after_a_name_is_refused(kind: bytes, root: Path) -> None:
    """Names count as no members: without end they would keep a restore busy for ever."""
    info = member("././@LongLink", kind)
    info.size = 2
    name = info.tobuf(tarfile.GNU_FORMAT) + b"x\0".ljust(512, b"\0")

    with pytest.raises(CacheFailed, match="more than one name"):
        unpack(name * 2 + archive([FOLDER]), root)


def test_a_sparse_file_is_refused(root: Path) -> None:
    """Its size on disk would not be what its header says."""
    info = member("repo/out/x", tarfile.GNUTYPE_SPARSE)
    info.size = 512

    with pytest.raises(CacheFailed, match="that is no file has content"):
        unpack(FOLDER[0].tobuf(tarfile.GNU_FORMAT) + info.tobuf(tarfile.GNU_FORMAT) + bytes(1536), root)


def test_a_file_larger_than_any_disk_is_refused_before_it_is_made(root: Path) -> None:
    """Sizes beyond eight gigabytes are written as binary numbers."""
    info = member("repo/out/x")
    info.size = 1 << 62
    data = FOLDER[0].tobuf(tarfile.GNU_FORMAT) + info.tobuf(tarfile.GNU_FORMAT)

    with pytest.raises(CacheFailed, match="more than the"):
        unpack(data, root, size=1 << 50)

    assert not (root / "repo/out/x").exists()


def test_many_small_members_that_are_too_much_together_are_refused(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kedge_runner.cache.limits.ALWAYS_ALLOWED", 10_000)
    members = [FOLDER, *((member(f"repo/out/{number}"), b"x" * 1000) for number in range(11))]

    with pytest.raises(CacheFailed, match="more than the 10000 bytes"):
        unpack(archive(members), root, size=1)


def test_names_that_differ_by_case_are_files_of_their_own_or_refused(root: Path) -> None:
    """Where a file system folds them, the second is there already: it never writes into the first."""
    members = [FOLDER, (member("repo/out/a"), b"1"), (member("repo/out/A"), b"2")]

    with suppress(CacheFailed):
        unpack(archive(members), root)

    assert (root / "repo/out/a").read_bytes() == b"1"


def test_links_in_a_circle_are_made_and_never_followed(root: Path) -> None:
    circle = [
        FOLDER,
        (member("repo/out/a", tarfile.SYMTYPE, link="b"), b""),
        (member("repo/out/b", tarfile.SYMTYPE, link="a"), b""),
    ]
    assert unpack(archive(circle), root) == 2
    assert (root / "repo/out/a").readlink().name == "b"


def test_no_file_is_written_below_a_circle_of_links(root: Path) -> None:
    circle = [
        FOLDER,
        (member("repo/out/a", tarfile.SYMTYPE, link="a"), b""),
        (member("repo/out/a/x"), b"x"),
    ]
    with pytest.raises(CacheFailed):
        unpack(archive(circle), root)


@pytest.mark.parametrize("mode", [0o4777, 0o2777, 0o1777, 0o7777])
def test_no_right_to_be_another_user_comes_from_an_archive(mode: int, root: Path) -> None:
    members = [
        FOLDER,
        (member("repo/out/d", tarfile.DIRTYPE, mode=mode), b""),
        (member("repo/out/x", mode=mode), b"x"),
    ]
    unpack(archive(members), root)

    for name in ("d", "x"):
        assert (root / "repo/out" / name).stat().st_mode & 0o7000 == 0


def test_a_full_disk_is_not_the_archives_fault(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is at fault is dropped for all builds; this one is good, and the next machine has room."""

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "repo")

    monkeypatch.setattr(os, "mkdir", full)
    with pytest.raises(OSError, match="No space left"):
        unpack(archive([FOLDER]), root)


GOOD = archive(
    [
        FOLDER,
        (member("repo/out/d", tarfile.DIRTYPE, mode=0o755), b""),
        (member("repo/out/d/x"), b"x" * 600),
        (member("repo/out/l", tarfile.SYMTYPE, link="d/x"), b""),
        (member("repo/out/" + "n" * 120), b"long"),
    ]
).rstrip(b"\0") + bytes(1024 + 512)


CHANGES = st.tuples(st.integers(0, len(GOOD) - 1), st.binary(min_size=1, max_size=8))


def test_the_archive_that_is_changed_below_is_good(root: Path) -> None:
    assert unpack(GOOD, root) == 3


@settings(max_examples=200, deadline=None)
@given(changes=st.lists(CHANGES, max_size=4))
def test_whatever_is_changed_in_an_archive_nothing_leaves_the_folder(
    changes: list[tuple[int, bytes]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The digest finds such archives; what was unpacked until then has done no harm."""
    data = bytearray(GOOD)
    for place, new in changes:
        data[place : place + len(new)] = new
    root = tmp_path_factory.mktemp("world") / "root"
    root.mkdir()
    (root.parent / "victim").write_text("safe")

    with suppress(CacheFailed):
        unpack(bytes(data), root)

    assert everything(root.parent) == {str(root.parent / "victim"): b"safe"}
    assert not any(path.is_symlink() and path.readlink().is_absolute() for path in root.rglob("*"))


NAMES = st.lists(
    st.sampled_from(["repo", "out", "..", ".", "", "a", "l", "/", "home", ".npm"]), max_size=6
).map("/".join)
KINDS = st.sampled_from(
    [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]
)
MEMBERS = st.tuples(NAMES, KINDS, NAMES)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(members=st.lists(MEMBERS, max_size=8), inside=st.booleans())
def test_no_archive_reaches_out_of_its_folder(
    members: list[tuple[str, bytes, str]], tmp_path_factory: pytest.TempPathFactory, *, inside: bool
) -> None:
    """Whatever is in it: beside the root nothing changes, and no link of it leads out of where it lies."""
    root = tmp_path_factory.mktemp("world") / "root"
    root.mkdir()
    (root.parent / "victim").write_text("safe")
    start = "repo/out/" if inside else ""
    made = [(member(start + name, kind, link=link), b"x") for name, kind, link in members]

    with suppress(CacheFailed):
        unpack(archive([FOLDER, *made]), root)

    assert everything(root.parent) == {str(root.parent / "victim"): b"safe"}
    for path in root.rglob("*"):
        if path.is_symlink():
            base = root / path.relative_to(root).parts[0]
            with suppress(OSError, RuntimeError):  # links in a circle lead nowhere
                assert path.resolve().is_relative_to(base)


@pytest.mark.parametrize(
    ("name", "target", "stays"),
    [
        (b"repo/out/l", b"x", True),
        (b"repo/out/l", b"../x", True),
        (b"repo/out/l", b"./a/b", True),
        (b"repo/out/l", b"../../x", False),
        (b"repo/out/l", b"a/../b", False),
        (b"repo/l", b"../home/x", False),
        (b"repo/out/l", b"/x", False),
        (b"repo/out/l", b"", False),
    ],
)
def test_a_link_stays_if_it_cannot_leave_its_first_folder(name: bytes, target: bytes, *, stays: bool) -> None:
    assert link_stays(name, target) is stays
