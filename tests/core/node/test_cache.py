"""The build cache on a real node: runner, API, database and store together."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from tests.core.node.command_line import kedge, kedge_json

from kedge.cli.workers import create_worker
from kedge.testing.node import Repository, RunningNode, latest_build, read_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DECLARED = """
[[cache]]
name = "out"
paths = ["out", "~/.tool"]
key = "out-{hash:lock}"
restore_keys = ["out-"]
"""
#: makes the tree once; a build that finds it leaves it alone
BUILD = (
    "if test -f out/made; then echo found it; else mkdir -p out ~/.tool; seq 100000 > out/made;"
    " ln -s made out/link; echo x > ~/.tool/x; fi; cat out/link ~/.tool/x > copy && wc -l copy"
)


@pytest.fixture
def cached(node: RunningNode, repository: Repository) -> Callable[..., str]:
    """Pushes a commit of a worker that caches; returns the log of its build, which succeeded."""
    make_worker(node)
    repository.commit({"kedge.toml": DECLARED, "lock": "1"})

    def push(files: dict[str, str] | None = None, branch: str = "main") -> str:
        repository.commit(files or {})
        return build(node, repository, branch)

    return push


@pytest.fixture
def small_node(tmp_path: Path) -> Iterator[RunningNode]:
    """A node whose builds may write no large file."""
    running = RunningNode(tmp_path, '[compute.process]\nfile_size = "1 MiB"\n').start()
    yield running
    running.stop()


def make_worker(node: RunningNode, command: str = BUILD) -> None:
    create_worker(
        node.server, "app", build=command, deploy="", root="/", branch="main", previews=True, cache=True
    )


def build(node: RunningNode, repository: Repository, branch: str = "main") -> str:
    pushed = node.push(repository, "app", f"HEAD:refs/heads/{branch}")
    assert pushed.returncode == 0, pushed.stderr
    found = latest_build(node.server)
    log = read_log(node.server, found["build_uuid"])
    assert found["build_outcome"] == "success", log
    return log


def blobs(node: RunningNode) -> list[Path]:
    """The archives in the node's store."""
    return [path for path in (node.data_dir / "blobs").rglob("*") if path.is_file() and "/cache" in str(path)]


def test_the_first_build_saves_and_the_next_ones_find(cached: Callable[..., str], node: RunningNode) -> None:
    first = cached()
    assert "Cache out: miss, for nothing is kept as out-" in first
    assert "Cache out: saved" in first
    assert "\nfound it\n" not in first

    second = cached()
    assert "Cache out: restored" in second
    assert "(3 files)" in second
    assert "\nfound it\n" in second
    assert "100001 copy" in second
    assert "Cache out: not saved, for nothing has changed" in second

    # another key: the beginning finds it, and the same tree is kept under the new key without being sent
    third = cached({"lock": "2"})
    assert "\nfound it\n" in third
    assert "not saved, for nothing has changed" in third
    assert len(blobs(node)) == 1
    assert "restored" in cached()

    # another branch falls back to production
    preview = cached(branch="feature")
    assert "\nfound it\n" in preview
    assert "of main" in preview

    node.server.delete("/builds/workers/app/caches")
    assert blobs(node) == []
    assert "Cache out: miss" in cached()


def test_other_content_of_the_same_size_and_time_is_saved_again(
    node: RunningNode, repository: Repository
) -> None:
    """Some tools set a fixed time on all they make; others make the same again, at another time."""
    make_worker(node, "mkdir -p out; cat out/x || true; cp what out/x; touch -d @1000000000 out/x; sh after")
    repository.commit({"kedge.toml": DECLARED, "lock": "1"})

    def push(what: str, after: str = "") -> str:
        repository.commit({"what": what, "after": after})
        return build(node, repository)

    assert "Cache out: saved" in push("one\n")
    assert "Cache out: saved" in push("two\n")
    assert "not saved, for nothing has changed" in push("two\n", "touch out/x")
    assert "\ntwo\n" in push("two\n")


def test_the_command_line_lists_and_purges(cached: Callable[..., str], node: RunningNode) -> None:
    assert "No caches yet" in kedge(node, "cache", "list")
    cached()

    for arguments in ([], ["app"]):
        table = kedge(node, "cache", "list", *arguments)
        assert "app" in table
        assert "out-" in table
        assert [cache["worker"] for cache in kedge_json(node, "cache", "list", *arguments)] == ["app"]
    assert "there is no worker 'other'" in kedge(node, "cache", "list", "other", code=1)
    assert "there is no worker 'other'" in kedge(node, "cache", "purge", "other", code=1)
    assert "The caches of app are gone." in kedge(node, "cache", "purge", "app")
    assert kedge_json(node, "cache", "list") == []
    assert blobs(node) == []


def test_a_worker_is_made_with_a_cache_by_one_option(node: RunningNode) -> None:
    kedge(node, "worker", "create", "app", "--build", "true", "--cache")
    kedge(node, "worker", "create", "plain", "--build", "true")

    assert "cache     on" in kedge(node, "worker", "show", "app")
    assert "cache     off" in kedge(node, "worker", "show", "plain")


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "damaged": (damage, "Cache out: miss: it is "),
    "cut short": (shorten, "Cache out: miss: it is "),
    "gone": (lambda path: path.unlink(), "Cache out: miss: it is gone from the store"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_archive_is_a_miss_with_a_reason_and_is_replaced(
    fault: str, cached: Callable[..., str], node: RunningNode
) -> None:
    cached()
    [archive] = blobs(node)
    harm, reason = FAULTS[fault]
    harm(archive)

    log = cached()

    assert reason in log
    assert "\nfound it\n" not in log
    assert "Cache out: saved" in log
    assert "\nfound it\n" in cached()


def test_a_store_that_goes_away_during_a_build_costs_it_nothing(
    node: RunningNode, repository: Repository
) -> None:
    folder = node.data_dir / "blobs"
    make_worker(node, f"mkdir -p out; echo x > out/x; rm -rf {folder}; echo > {folder}")
    repository.commit({"kedge.toml": DECLARED, "lock": "1"})

    log = build(node, repository)

    assert "Cache out: not saved: " in log
    folder.unlink()
    shutil.rmtree(folder, ignore_errors=True)


def test_an_archive_that_cannot_be_written_costs_a_build_nothing(
    small_node: RunningNode, repository: Repository
) -> None:
    make_worker(small_node, "mkdir -p out; for n in 1 2 3 4; do head -c 1000000 /dev/urandom > out/$n; done")
    repository.commit({"kedge.toml": DECLARED, "lock": "1"})

    assert "Cache out: not saved: File too large" in build(small_node, repository)


def test_links_out_of_the_project_are_left_out_and_told(node: RunningNode, repository: Repository) -> None:
    make_worker(node, "mkdir -p out; echo x > out/x; ln -s /etc/passwd out/passwd")
    repository.commit({"kedge.toml": DECLARED, "lock": "1"})

    assert "1 links that lead out" in build(node, repository)


def test_a_wrong_declaration_is_told_and_the_build_goes_on(node: RunningNode, repository: Repository) -> None:
    make_worker(node, "true")
    repository.commit({"kedge.toml": '[[cache]]\nname = "x"\npaths = ["../../etc"]\n'})

    assert "Cache x: not used: '../../etc' must name a folder" in build(node, repository)
