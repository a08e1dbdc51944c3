"""What a build may use, and what happens when it wants more."""

from __future__ import annotations

import asyncio
import resource
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog

from kedge import ExitCause, Limits
from kedge_process.guard.cgroups import FOLDER, Groups, find_groups
from kedge_process.plan import make_plan
from kedge_process.settings import ProcessSettings

if TYPE_CHECKING:
    from tests.backends.process.conftest import Lab

MIB = 1 << 20
GROUPS = find_groups()
needs_memory_groups = pytest.mark.skipif("memory" not in GROUPS, reason="no memory cgroup may be used here")
needs_pids_groups = pytest.mark.skipif("pids" not in GROUPS, reason="no pids cgroup may be used here")


def proc(pid: int, name: str) -> bytes:
    return Path(f"/proc/{pid}/{name}").read_bytes()


@needs_memory_groups
@pytest.mark.parametrize("by_request", [False, True])
async def test_a_build_over_its_memory_is_told_as_out_of_memory(lab: Lab, *, by_request: bool) -> None:
    await lab.open(**({} if by_request else {"memory": "64 MiB"}))
    limits = Limits(memory_bytes=64 * MIB if by_request else None)
    status = await lab.run(["eat", 512 * MIB], ["exit", 0], limits=limits)
    assert status.cause is ExitCause.OUT_OF_MEMORY
    assert "memory limit" in status.detail


@needs_memory_groups
async def test_a_build_within_its_memory_is_not(lab: Lab) -> None:
    await lab.open(memory="256 MiB")
    assert (await lab.run(["eat", 32 * MIB], ["exit", 0])).cause is ExitCause.SELF


@needs_pids_groups
async def test_a_fork_bomb_is_held_and_stopped(lab: Lab) -> None:
    compute = await lab.open(processes=64)
    bomb = "b() { b | b & }; while :; do b; done"
    compute_id, runner = await lab.start(["command", "sh", "-c", bomb], ["ignore"])
    async with asyncio.timeout(60):
        await compute.stop(compute_id, grace=0.2)
    await runner.gone()
    status = await compute.inspect(compute_id)
    assert status.cause is ExitCause.STOPPED
    assert "cannot be killed" not in status.detail


@needs_pids_groups
async def test_groups_go_with_their_build(lab: Lab) -> None:
    await lab.open(memory="64 MiB", processes=64, warm=0)
    _, runner = await lab.start(["wait"])
    groups = proc(runner.pid, "cgroup").decode()
    name = next(line for line in groups.splitlines() if ":pids:" in line or "::" in line).rpartition("/")[2]
    folder = Path(GROUPS["pids"]) / name
    assert folder.is_dir()
    assert (folder / "pids.max").read_text().strip() == "64"
    for status in await lab.compute.list():
        await lab.compute.stop(status.compute_id, grace=0)
    assert not folder.exists()


async def test_a_file_over_the_quota_is_an_error_of_the_build(lab: Lab) -> None:
    await lab.open(file_size="1 MiB")
    assert (await lab.run(["write", MIB])).exit_code == 0
    status = await lab.run(["write", 2 * MIB])
    assert status.exit_code == 70
    assert "File too large" in status.detail


async def test_rlimits_are_set(lab: Lab) -> None:
    await lab.open(open_files=123)
    _, runner = await lab.start(["wait"], limits=Limits(disk_bytes=5 * MIB))
    assert resource.prlimit(runner.pid, resource.RLIMIT_NOFILE) == (123, 123)
    assert resource.prlimit(runner.pid, resource.RLIMIT_FSIZE) == (5 * MIB, 5 * MIB)
    assert resource.prlimit(runner.pid, resource.RLIMIT_CORE) == (0, 0)


async def test_a_build_that_asks_for_more_than_the_settings_have_gets_that(lab: Lab) -> None:
    await lab.open(open_files=123, file_size="5 MiB")
    _, runner = await lab.start(["wait"], limits=Limits(disk_bytes=50 * MIB, open_files=1024))
    assert resource.prlimit(runner.pid, resource.RLIMIT_NOFILE) == (123, 123)
    assert resource.prlimit(runner.pid, resource.RLIMIT_FSIZE) == (5 * MIB, 5 * MIB)


async def test_a_limit_above_the_machines_own_takes_that(lab: Lab) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    await lab.open(open_files=hard + 1)
    _, runner = await lab.start(["wait"])
    assert resource.prlimit(runner.pid, resource.RLIMIT_NOFILE) == (hard, hard)


def fake_v2(tmp_path: Path, controllers: str, own: str = "/user.slice/kedge.service") -> dict[str, str]:
    mount = tmp_path / "cgroup"
    (mount / own.strip("/")).mkdir(parents=True)
    for folder in (mount / own.strip("/"), (mount / own.strip("/")).parent):
        (folder / "cgroup.subtree_control").write_text(controllers if folder.name != "main" else "")
    base = (mount / own.strip("/")).parent if own.endswith("/main") else mount / own.strip("/")
    (base / FOLDER).mkdir()
    (base / FOLDER / "cgroup.subtree_control").write_text("")
    mounts, membership = tmp_path / "mountinfo", tmp_path / "membership"
    mounts.write_text(f"30 23 0:26 / {mount} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n")
    membership.write_text(f"0::{own}\n")
    return find_groups(str(mounts), str(membership))


def test_delegated_v2_controllers_are_used(tmp_path: Path) -> None:
    base = str(tmp_path / "cgroup/user.slice/kedge.service" / FOLDER)
    assert fake_v2(tmp_path, "memory pids") == {"memory": base, "pids": base}
    assert (Path(base) / "cgroup.subtree_control").read_text() == "+memory +pids"


def test_a_v2_group_with_processes_uses_its_parent(tmp_path: Path) -> None:
    found = fake_v2(tmp_path, "memory", own="/kedge.service/main")
    assert found == {"memory": str(tmp_path / "cgroup/kedge.service" / FOLDER)}


def test_without_delegated_controllers_there_are_no_groups(tmp_path: Path) -> None:
    assert fake_v2(tmp_path, "") == {}
    assert find_groups(str(tmp_path / "none"), str(tmp_path / "none")) == {}


def test_v2_limits_are_written_where_the_kernel_reads_them(tmp_path: Path) -> None:
    folder = tmp_path / "7"
    folder.mkdir()
    files = ("cgroup.events", "cgroup.procs", "memory.max", "memory.swap.max", "pids.max", "cpu.max")
    for name in files:
        (folder / name).touch()
    groups = Groups(dict.fromkeys(("memory", "pids", "cpu"), str(tmp_path)), "7")
    quota = {"memory": MIB, "processes": 9, "cpus": 0.5, "open_files": None, "file_size": None}
    groups.apply(4242, quota)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert [(folder / name).read_text() for name in files] == [
        "", "4242", str(MIB), "0", "9", "50000 100000",
    ]  # fmt: skip


def test_a_limit_that_cannot_hold_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kedge_process.plan.find_groups", dict)
    with structlog.testing.capture_logs() as logs:
        make_plan(ProcessSettings.model_validate({"memory": "1 GiB"}), None)
    (line,) = logs
    assert (line["event"], line["cgroups_missing"]) == ("limits_not_enforced", ["memory"])
