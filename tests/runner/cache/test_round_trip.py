"""A tree that is packed, compressed, expanded and unpacked is the same tree."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Callable  # noqa: TC003  (of a constant)
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kedge_runner.cache import compression
from kedge_runner.cache.compression import compress, decompress
from kedge_runner.cache.errors import CacheFailed
from kedge_runner.cache.limits import Budget
from kedge_runner.cache.pack import fingerprint, pack_tree
from kedge_runner.cache.placing import put_in_place
from kedge_runner.cache.tree import Tree
from kedge_runner.cache.unit import Unit
from kedge_runner.cache.unpack import Unpacker

if TYPE_CHECKING:
    from pathlib import Path

UNIT = Unit("out", ["repo/out"], key="out", excludes=["repo/out/logs"])


@pytest.fixture(params=["zstd", "gzip"])
def _program(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the program, and as on a machine that lacks it."""
    if request.param == "gzip":
        monkeypatch.setattr(compression, "_zstd", lambda: None)
    assert compression.available() == request.param


def fingerprint_of(workspace: Path) -> str:
    tree = Tree(str(workspace), UNIT)
    return fingerprint(tree.workspace, tree.walk())


def pack(workspace: Path, target: Path) -> str:
    """Pack; return the fingerprint."""
    tree = Tree(str(workspace), UNIT)
    with compress() as process, target.open("wb") as file:

        def take() -> None:
            while data := os.read(process.output, 1 << 20):
                file.write(data)

        thread = threading.Thread(target=take)
        thread.start()
        found = pack_tree(tree.workspace, tree.walk(), process.input)
        process.end_input()
        thread.join()
        process.finish()
    return found


def unpack(archive: Path, workspace: Path) -> None:
    stage = workspace / ".stage"
    stage.mkdir()
    with decompress() as process:

        def feed() -> None:
            data = memoryview(archive.read_bytes())
            while data:
                data = data[os.write(process.input, data) :]
            process.end_input()

        thread = threading.Thread(target=feed)
        thread.start()
        unpacker = Unpacker(str(stage), UNIT.paths, Budget(archive.stat().st_size))
        unpacker.run(process.output)
        unpacker.close()
        thread.join()
        process.finish()
    put_in_place(str(stage), str(workspace), UNIT.paths)


def fill(workspace: Path) -> Path:
    folder = workspace / "repo" / "out"
    (folder / "deep" / ("d" * 120) / ("e" * 120)).mkdir(parents=True)
    (folder / "deep" / ("d" * 120) / ("e" * 120) / "file").write_text("deep")
    (folder / "empty").mkdir()
    (folder / "nothing").touch()
    (folder / "run").write_text("#!/bin/sh")
    (folder / "run").chmod(0o755)
    (folder / "large").write_bytes(os.urandom(3_000_000))
    (folder / "link").symlink_to("deep/" + "d" * 120 + "/" + "e" * 120)
    (folder / os.fsdecode(b"not \xff text")).write_text("bytes")
    (folder / "other link").symlink_to("empty")
    (folder / "logs").mkdir()
    (folder / "logs" / "today").write_text("left out")
    os.utime(folder / "run", (1_000_000_000, 1_000_000_000.7))
    return folder


def test_what_comes_back_is_what_was_saved(_program: None, tmp_path: Path) -> None:  # noqa: PT019
    one, other = tmp_path / "one", tmp_path / "other"
    folder = fill(one)
    other.mkdir()

    saved = pack(one, tmp_path / "archive")
    unpack(tmp_path / "archive", other)

    assert fingerprint_of(other) == saved
    assert (other / "repo/out/large").read_bytes() == (folder / "large").read_bytes()
    assert (other / "repo/out/run").stat().st_mode & 0o777 == 0o755
    assert (other / "repo/out/run").stat().st_mtime == 1_000_000_000
    assert not (other / "repo/out/logs").exists()


def test_tar_itself_can_read_what_is_saved(tmp_path: Path) -> None:
    fill(tmp_path / "one")
    pack(tmp_path / "one", tmp_path / "archive")

    listed = subprocess.run(
        ["tar", "--zstd", "-tf", str(tmp_path / "archive")], capture_output=True, check=True
    ).stdout

    assert b"repo/out/deep/" + b"d" * 120 + b"/" + b"e" * 120 + b"/file" in listed
    assert listed.count(b"\n") == len(list(Tree(str(tmp_path / "one"), UNIT).walk()))


@pytest.mark.usefixtures("_program")
def test_a_damaged_archive_is_told(tmp_path: Path) -> None:
    fill(tmp_path / "one")
    pack(tmp_path / "one", tmp_path / "archive")
    data = bytearray((tmp_path / "archive").read_bytes())
    (tmp_path / "archive").write_bytes(data[: len(data) // 2])
    (tmp_path / "other").mkdir()

    with pytest.raises((CacheFailed, BrokenPipeError)):
        unpack(tmp_path / "archive", tmp_path / "other")


def test_links_that_lead_out_and_sockets_are_left_out_and_counted(tmp_path: Path) -> None:
    folder = tmp_path / "repo" / "out"
    folder.mkdir(parents=True)
    (folder / "python").symlink_to("/usr/bin/python3")
    (folder / "up").symlink_to("../../home/secret")
    os.mkfifo(folder / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "socket"))

        tree = Tree(str(tmp_path), UNIT)
        assert [entry.name for entry in tree.walk()] == [b"repo/out"]
    assert tree.left_out == 4


def test_a_link_in_the_way_of_a_declared_path_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret" / "out").mkdir(parents=True)
    (tmp_path / "secret" / "out" / "key").write_text("secret")
    (tmp_path / "repo").symlink_to("secret")

    assert list(Tree(str(tmp_path), UNIT).walk()) == []


def rewrite(folder: Path) -> None:
    """As tools do that set a fixed time on all they make."""
    there = (folder / "run").stat()
    (folder / "run").write_text("#!/bin/SH")
    os.utime(folder / "run", ns=(there.st_atime_ns, there.st_mtime_ns))


CHANGES: dict[str, Callable[[Path], object]] = {
    "content of another size": lambda folder: (folder / "run").write_text("#!/bin/sh -e"),
    "content of the same size at the same time": rewrite,
    "rights": lambda folder: (folder / "run").chmod(0o644),
    "a new file": lambda folder: (folder / "new").touch(),
    "a file gone": lambda folder: (folder / "nothing").unlink(),
    "another link": lambda folder: (folder / "other link").replace(folder / "link"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_changes_the_fingerprint(change: str, tmp_path: Path) -> None:
    folder = fill(tmp_path)
    before = fingerprint_of(tmp_path)

    CHANGES[change](folder)

    assert fingerprint_of(tmp_path) != before


def test_what_is_left_out_does_not_change_the_fingerprint_nor_do_times(tmp_path: Path) -> None:
    folder = fill(tmp_path)
    before = fingerprint_of(tmp_path)

    (folder / "logs" / "tomorrow").touch()
    os.utime(folder, (1, 1))
    os.utime(folder / "run", (1, 1))

    assert fingerprint_of(tmp_path) == before


@pytest.mark.parametrize(
    ("before", "after"), [(0, 1), (1, 0), (5, 4), (3_000_000, 3_000_001), (3_000_001, 3_000_000)]
)
def test_a_file_that_changes_while_it_is_packed_is_told(before: int, after: int, tmp_path: Path) -> None:
    folder = fill(tmp_path)
    (folder / "run").write_bytes(bytes(before))
    tree = Tree(str(tmp_path), UNIT)
    entries = list(tree.walk())
    (folder / "run").write_bytes(bytes(after))

    with pytest.raises(CacheFailed, match="changed while"):
        fingerprint(tree.workspace, entries)


@pytest.mark.parametrize("size", [0, 1])
def test_a_file_that_vanishes_while_it_is_packed_is_told(size: int, tmp_path: Path) -> None:
    folder = fill(tmp_path)
    (folder / "run").write_bytes(bytes(size))
    tree = Tree(str(tmp_path), UNIT)
    entries = list(tree.walk())
    (folder / "run").unlink()

    with pytest.raises(FileNotFoundError):
        fingerprint(tree.workspace, entries)


def test_what_is_there_already_is_kept(tmp_path: Path) -> None:
    """A cache replaces no file of the commit, nor follows a link that the commit has."""
    stage, work = tmp_path / "stage", tmp_path / "work"
    (stage / "repo/out/sub").mkdir(parents=True)
    for name in ("kept", "sub/new", "new"):
        (stage / "repo/out" / name).write_text("cache")
    (work / "repo/out/sub").mkdir(parents=True)
    (work / "repo/out/kept").write_text("commit")

    assert put_in_place(str(stage), str(work), UNIT.paths) == 1

    assert (work / "repo/out/kept").read_text() == "commit"
    assert (work / "repo/out/sub/new").read_text() == "cache"
    assert (work / "repo/out/new").read_text() == "cache"


@pytest.mark.parametrize("linked", ["repo", "repo/out", "repo/out/sub"])
def test_a_link_of_the_commit_is_not_followed(linked: str, tmp_path: Path) -> None:
    stage, work, elsewhere = tmp_path / "stage", tmp_path / "work", tmp_path / "elsewhere"
    (stage / "repo/out/sub").mkdir(parents=True)
    (stage / "repo/out/sub/new").write_text("cache")
    elsewhere.mkdir()
    (work / linked).parent.mkdir(parents=True)
    (work / linked).symlink_to(elsewhere)

    assert put_in_place(str(stage), str(work), UNIT.paths) == 1

    assert list(elsewhere.iterdir()) == []


NAMES = st.binary(min_size=1, max_size=130).filter(lambda name: not {0, 47} & set(name) and name.strip(b"."))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=st.dictionaries(NAMES, st.binary(max_size=2000), max_size=12))
def test_any_names_and_contents_survive(
    files: dict[bytes, bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("trees")
    folder = place / "one" / "repo" / "out"
    folder.mkdir(parents=True)
    (place / "other").mkdir()
    for name, content in files.items():
        (folder / os.fsdecode(name)).write_bytes(content)

    pack(place / "one", place / "archive")
    unpack(place / "archive", place / "other")

    back = place / "other" / "repo" / "out"
    found = {os.fsencode(path.name): path.read_bytes() for path in back.iterdir()}
    assert found == {name: content for name, content in files.items() if name != b"logs"}
