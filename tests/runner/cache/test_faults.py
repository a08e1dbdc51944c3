"""What goes wrong with a cache never changes how a build ends."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kedge_runner.cache.archive import Archive
from kedge_runner.cache.errors import reason_of
from kedge_runner.cache.outlet import Outlet
from kedge_runner.cache.tree import Tree
from kedge_runner.cache.unit import Unit

if TYPE_CHECKING:
    from tests.runner.conftest import Call, FakeKedge, Runners

JOB = {
    "build_command": "mkdir -p out && echo made > out/file",
    "cache": {"writable": True, "declared": [{"name": "out", "paths": ["out"]}]},
}

PART_BYTES = 2_000_000


def faults(
    kedge: FakeKedge,
    path: str,
    then: Any,
    *,
    put: dict[str, Any] | None = None,
    part: dict[str, Any] | None = None,
    known: bool = False,
) -> None:
    """At a call of `path` do `then`; everything else is answered.

    `put` is where the store takes archives, `part` where it takes parts of them.
    """

    def fault(call: Call) -> str | int | None:
        if not call.path.endswith(path):
            return None
        return then() if callable(then) else then  # type: ignore[no-any-return]

    kedge.fault = fault
    answer = kedge.answer

    answers: dict[str, Any] = {
        "/caches/lookup": {"hit": None},
        "/caches/known": {"known": known},
        "/caches": {"id": "an-id", "put": put},
        "/an-id": None,
        "/an-id/complete": None,
        "/caches/parts": {"upload": part and {"id": "parted", "part_size": PART_BYTES}},
        "/parted/parts": {"put": part},
        "/parted": None,
    }

    def answer_caches(call: Call) -> tuple[int, Any]:
        for end, body in answers.items():
            if call.path.endswith(end):
                return 200, body
        return answer(call)

    kedge.answer = answer_caches  # type: ignore[method-assign]


def test_a_build_that_is_cancelled_while_it_saves_has_succeeded(kedge: FakeKedge, runners: Runners) -> None:
    def cancel() -> str:
        runners.started[0].send_signal(signal.SIGTERM)
        return "drop"

    faults(kedge, "/caches/known", cancel)

    verdict = runners.run(**JOB)

    assert verdict["outcome"] == "success", kedge.log
    assert "Its result holds" in kedge.log
    assert verdict["phases"][-1]["outcome"] == "cancelled"


@pytest.mark.parametrize("path", ["/caches/lookup", "/caches/known", "/caches", "/caches/an-id"])
@pytest.mark.parametrize("status", [400, 403, 404, 413])
def test_a_refusal_is_told_and_the_build_succeeds(
    path: str, status: int, kedge: FakeKedge, runners: Runners
) -> None:
    faults(kedge, path, status)

    verdict = runners.run(**JOB)

    assert verdict["outcome"] == "success", kedge.log
    assert "Cache out: miss" in kedge.log
    if not path.endswith("lookup"):
        assert "Cache out: not saved: " in kedge.log


def test_a_build_that_fails_saves_nothing(kedge: FakeKedge, runners: Runners) -> None:
    faults(kedge, "/never", None)

    assert runners.run(**JOB | {"build_command": "mkdir out; touch out/x; false"})["outcome"] == "fail"

    assert not [call for call in kedge.calls if call.path.endswith(("/known", "/caches"))]


def test_an_untrusted_build_does_not_even_try_to_save(kedge: FakeKedge, runners: Runners) -> None:
    faults(kedge, "/never", None)
    cache = {**JOB["cache"], "writable": False}  # type: ignore[dict-item]

    assert runners.run(**JOB | {"cache": cache})["outcome"] == "success"

    assert "not saved, for this build is not trusted" in kedge.log
    assert not [call for call in kedge.calls if call.path.endswith(("/known", "/caches"))]


def test_neither_token_nor_plan_can_be_seen_of_the_process_that_saves(
    kedge: FakeKedge, runners: Runners
) -> None:
    seen: list[str] = []

    def look() -> None:
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                try:
                    seen.append((entry / "cmdline").read_text() + (entry / "environ").read_text())
                except (OSError, UnicodeDecodeError):
                    continue

    faults(kedge, "/caches/known", look)

    runners.run(**JOB)

    assert [text for text in seen if "kedge_runner.cache.helper" in text]
    assert not [text for text in seen if "kdr_the-attempts-own-token" in text]


def test_a_restore_that_is_killed_leaves_nothing_behind(kedge: FakeKedge, runners: Runners) -> None:
    hit: dict[str, Any] = {"id": "an-id", "key": "out", "branch": "main", "get": None}
    hit |= {"size": 1, "sha256": "0" * 64, "fingerprint": "0" * 64, "tree_bytes": 1, "file_count": 1}

    def kill() -> str:
        runner = runners.started[0].pid
        for pid in Path(f"/proc/{runner}/task/{runner}/children").read_text().split():
            if "kedge_runner.cache.helper" in Path(f"/proc/{pid}/cmdline").read_text():
                os.kill(int(pid), signal.SIGKILL)
        return "drop"

    faults(kedge, "/an-id", kill)
    answer = kedge.answer
    found = lambda call: (200, {"hit": hit}) if call.path.endswith("/lookup") else answer(call)  # noqa: E731
    kedge.answer = found  # type: ignore[method-assign]

    assert runners.run(**JOB | {"build_command": "ls -A .."})["outcome"] == "success", kedge.log

    assert "ended with code -9" in kedge.log
    assert ".restore-" not in kedge.log


def test_what_is_announced_is_what_is_sent(kedge: FakeKedge, runners: Runners) -> None:
    faults(kedge, "/never", None)

    runners.run(**JOB)

    [announced] = [json.loads(call.body) for call in kedge.calls if call.path.endswith("/caches")]
    [sent] = [call.body for call in kedge.calls if call.path.endswith("/an-id")]
    assert announced["size"] == len(sent)
    assert announced["file_count"] == 1


@pytest.fixture
def unreachable() -> dict[str, Any]:
    """A request to a store that nobody answers for."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    return {"url": f"http://127.0.0.1:{port}/bucket/key?X-Amz-Signature=5ec7e7", "headers": {}}


def test_a_build_that_cannot_reach_the_store_sends_its_archive_through_kedge(
    unreachable: dict[str, Any], kedge: FakeKedge, runners: Runners
) -> None:
    faults(kedge, "/never", None, put=unreachable)
    paths = [{"name": name, "paths": [name]} for name in ("one", "two")]
    cache = {"writable": True, "declared": paths}
    build = "mkdir one two && echo made > one/file && echo made > two/file"

    assert runners.run(**JOB | {"build_command": build, "cache": cache})["outcome"] == "success"

    assert kedge.log.count("through Kedge, for the store is out of reach: Connection refused") == 1
    assert [call.method for call in kedge.calls if call.path.endswith("/an-id")] == ["PUT", "PUT"]
    assert "Cache one: saved" in kedge.log
    assert "Cache two: saved" in kedge.log
    assert "5ec7e7" not in kedge.log


@pytest.mark.parametrize("size", [1_500_000, 3_000_000, 7_000_000])
def test_nothing_of_an_archive_is_lost_when_its_first_part_finds_no_store(
    size: int, unreachable: dict[str, Any], kedge: FakeKedge, runners: Runners
) -> None:
    faults(kedge, "/never", None, part=unreachable)
    build = f"mkdir out && head -c {size} /dev/urandom > out/file && sha256sum < out/file"

    assert runners.run(**JOB | {"build_command": build})["outcome"] == "success", kedge.log

    [sent] = [call.body for call in kedge.calls if call.path.endswith("/an-id")]
    tree = subprocess.run(["zstd", "-d"], input=sent, capture_output=True, check=True).stdout
    packed = subprocess.run(["tar", "-xO"], input=tree, capture_output=True, check=True).stdout
    assert hashlib.sha256(packed).hexdigest() in kedge.log
    assert kedge.log.count("the store is out of reach") == 1


def test_a_store_that_was_out_of_reach_for_what_is_kept_already_is_not_tried_again(
    unreachable: dict[str, Any], kedge: FakeKedge, runners: Runners
) -> None:
    faults(kedge, "/never", None, part=unreachable, known=True)
    cache = {"writable": True, "declared": [{"name": name, "paths": [name]} for name in ("one", "two")]}
    size = PART_BYTES + PART_BYTES // 2
    build = f"mkdir one two && head -c {size} /dev/urandom > one/file && cp one/file two/file"

    assert runners.run(**JOB | {"build_command": build, "cache": cache})["outcome"] == "success"

    assert kedge.log.count("the store is out of reach") == 1
    assert len([call for call in kedge.calls if call.path.endswith("/caches/parts")]) == 1


class NoStore:
    """A Kedge whose store signs no parts."""

    store_in_reach = False


def test_a_full_disk_is_called_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "repo/out").mkdir(parents=True)
    (tmp_path / "repo/out/file").write_bytes(os.urandom(5_000_000))
    tree = Tree(str(tmp_path), Unit("out", ["repo/out"], key="out"))
    outlet = Outlet(NoStore(), {}, str(tmp_path))  # type: ignore[arg-type]
    outlet._file().file.close()

    with Path("/dev/full").open("wb", buffering=0) as full:
        outlet._file().file = full
        with pytest.raises(OSError) as raised:  # noqa: PT011  (the number is looked at below)
            Archive(outlet).fill(tree.workspace, tree.walk())

    assert reason_of(raised.value) == "the disk is full where builds run"
