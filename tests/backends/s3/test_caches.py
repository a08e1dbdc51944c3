"""Build caches on a real S3: the bytes go straight between builds and the store, whatever becomes of it."""

from __future__ import annotations

import fnmatch
import os
from typing import TYPE_CHECKING, Any

import pytest
from tests.backends.s3.test_node import CONFIG

from kedge.cli.workers import create_worker
from kedge.testing.node import Repository, RunningNode, latest_build, read_log, wait_for_end

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DECLARED = '[[cache]]\nname = "out"\npaths = ["out"]\nkey = "out"\n'
BUILD = (
    "if test -f out/made; then echo found it; else mkdir out; head -c 3000000 /dev/urandom > out/made; fi;"
    " test ! -f run || sh run"
)


class Project:
    """A worker whose builds cache 3 MB on a bucket behind something that may do harm."""

    def __init__(self, node: RunningNode, place: Any, damage: Any, folder: Path) -> None:
        self.node, self.place, self.damage = node, place, damage
        self.repository = Repository(folder / "repo")
        self.repository.commit({"kedge.toml": DECLARED})
        create_worker(
            node.server, "app", build=BUILD, deploy="", root="/", branch="main", previews=True, cache=True
        )

    def build(self, **files: str) -> str:
        """Push; return the log of the build, which succeeded."""
        self.repository.commit(files)
        pushed = self.node.push(self.repository, "app")
        assert pushed.returncode == 0, pushed.stderr
        found = wait_for_end(self.node.server, latest_build(self.node.server)["build_uuid"])
        log = read_log(self.node.server, found["build_uuid"])
        assert found["build_outcome"] == "success", log
        return log

    def archives(self) -> list[str]:
        return fnmatch.filter(self.place.keys(), "kedge/cache/*")

    def known(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.node.server.get("/builds/workers/app/caches")
        return found

    def moved(self, method: str) -> tuple[int, int]:
        """How many archives builds and Kedge itself have sent or fetched."""
        [spoiler] = self.damage.spoilers
        return (
            len([one for one in spoiler.strangers if one[0] == method and "/cache/" in one[1]]),
            len([one for one in spoiler.own if one[0] == method and "/cache/" in one[1]]),
        )


@pytest.fixture
def project(place: Any, damage: Any, tmp_path: Path) -> Iterator[Project]:
    endpoint = damage(place.endpoint, "")
    folder = tmp_path / "node"
    folder.mkdir()
    config = CONFIG.format(bucket=place.bucket, endpoint=endpoint, folder=place.folder)
    node = RunningNode(folder, config).start()
    yield Project(node, place, damage, tmp_path)
    node.stop()


def test_archives_go_straight_between_builds_and_the_store(project: Project) -> None:
    first = project.build()
    assert "Cache out: saved" in first
    [archive] = project.archives()
    assert project.moved("PUT") == (1, 0)

    second = project.build()
    assert "\nfound it\n" in second
    assert "nothing has changed" in second
    assert project.moved("GET") == (1, 0)
    assert project.moved("PUT") == (1, 0)
    assert project.archives() == [archive]
    assert "X-Amz-" not in first + second

    project.node.server.delete("/builds/workers/app/caches")
    assert project.archives() == []


LARGE = "test -f out/large || head -c 14000000 /dev/urandom > out/large; sha256sum out/large"


def test_a_large_archive_is_sent_in_parts_while_it_is_packed_and_comes_back_whole(project: Project) -> None:
    first = project.build(run=LARGE)
    assert "Cache out: saved 17" in first
    assert project.moved("PUT") == (4, 0)
    assert project.place.uploads() == []

    second = project.build()
    [digest] = [line for line in first.splitlines() if line.endswith("  out/large")]
    assert digest in second
    assert "nothing has changed" in second
    assert project.moved("PUT") == (4, 0)


def test_parts_that_a_busy_store_turns_away_are_sent_again(project: Project) -> None:
    project.damage.harm("busy once", only="/cache/")

    assert "Cache out: saved" in project.build(run=LARGE)

    assert project.moved("PUT") == (8, 0)
    assert project.place.uploads() == []


def spoil(project: Project, archive: str) -> None:
    project.place.client.put_object(Bucket=project.place.bucket, Key=archive, Body=os.urandom(3_000_000))


def shorten(project: Project, archive: str) -> None:
    client, bucket = project.place.client, project.place.bucket
    whole = client.get_object(Bucket=bucket, Key=archive)["Body"].read()
    client.put_object(Bucket=bucket, Key=archive, Body=whole[: len(whole) // 2])


def remove(project: Project, archive: str) -> None:
    project.place.client.delete_object(Bucket=project.place.bucket, Key=archive)


FAULTS: dict[str, tuple[Callable[[Project, str], None], str]] = {
    "damaged": (spoil, "Cache out: miss: it is "),
    "cut short": (shorten, "Cache out: miss: it is shorter than what was saved"),
    "gone": (remove, "Cache out: miss: it is gone from the store"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_object_is_a_miss_with_a_reason_and_is_replaced(fault: str, project: Project) -> None:
    project.build()
    [archive] = project.archives()
    harm, reason = FAULTS[fault]
    harm(project, archive)

    log = project.build()

    assert reason in log
    assert "\nfound it\n" not in log
    assert "Cache out: saved" in log
    assert "\nfound it\n" in project.build()


@pytest.mark.parametrize("harm", ["break off once", "break off", "flip"])
def test_harm_on_the_way_back_never_reaches_a_build(harm: str, project: Project) -> None:
    project.build()
    project.damage.harm(harm, only="/cache/")

    log = project.build()

    assert ("\nfound it\n" in log) == (harm == "break off once"), log
    assert harm == "break off once" or "Cache out: miss: " in log


@pytest.mark.parametrize("harm", ["flip what is sent", "away"])
def test_an_archive_that_does_not_arrive_whole_is_seen_by_nobody(harm: str, project: Project) -> None:
    project.damage.harm(harm, only="/cache/")

    log = project.build()

    assert "Cache out: not saved: " in log
    assert project.known() == []
    project.damage.back()
    assert project.archives() == []
    assert project.place.uploads() == []
    assert "Cache out: miss" in project.build()


def test_credentials_taken_away_during_a_build_cost_it_its_cache_only(project: Project) -> None:
    project.build()
    project.damage.harm("unknown key")

    log = project.build(run="rm -rf out; mkdir out; head -c 6000000 /dev/urandom > out/other")

    assert "Cache out: miss: " in log
    assert "(InvalidAccessKeyId)" in log
    assert "Cache out: not saved: " in log
    project.damage.back()
    # nothing was wrong with what is kept
    assert "\nfound it\n" in project.build(run="")


def test_a_bucket_that_vanishes_costs_a_build_its_cache_only(project: Project) -> None:
    project.build()
    stored: list[str] = project.place.keys()
    for key in stored:
        remove(project, key)
    project.place.client.delete_bucket(Bucket=project.place.bucket)

    log = project.build()

    assert "Cache out: miss: it is gone from the store" in log
    assert "Cache out: not saved: " in log
