"""Starts that cannot be, and what is told of them."""

from __future__ import annotations

import asyncio
import os
import resource
from typing import TYPE_CHECKING

import pytest

from kedge import CapacityUnavailable, ConfigError, StartRefused
from kedge.testing.fake_host import FakeHost
from kedge_process.compute import ProcessCompute
from kedge_process.forks import ForkServer
from kedge_process.plan import RunnerCode, make_plan
from kedge_process.settings import ProcessSettings

if TYPE_CHECKING:
    from pathlib import Path

    from tests.backends.process.conftest import Lab

HOSTILE = ("", "../../escape", "a/b", "-rf", ".", "..", ".new-x", "a\0b", "a\nb", "$(id)", "é", "x" * 200)


@pytest.mark.parametrize("build_uuid", HOSTILE)
async def test_an_id_that_is_none_is_refused(lab: Lab, build_uuid: str) -> None:
    compute = await lab.open()
    with pytest.raises(StartRefused):
        await compute.start(lab.request(build_uuid=build_uuid))
    assert list(lab.workspaces.iterdir()) == []
    assert await compute.list() == []


async def test_code_from_outside_is_refused_until_the_config_allows_it(lab: Lab) -> None:
    compute = await lab.open()
    with pytest.raises(StartRefused, match=r"no wall .* compute\.process\.untrusted"):
        await compute.start(lab.request(trusted=False))
    assert await compute.list() == []

    await lab.reopen(untrusted=True)
    assert (await lab.run(["exit", 3], trusted=False)).exit_code == 3


async def test_a_request_too_large_for_a_message_is_refused(lab: Lab) -> None:
    compute = await lab.open()
    with pytest.raises(StartRefused, match="too large"):
        await compute.start(lab.request(token="x" * 100_000))
    assert (await lab.run(["exit", 3])).exit_code == 3


async def test_a_folder_that_cannot_be_made_is_a_mistake_in_the_config(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings = ProcessSettings(workspaces=tmp_path / "file" / "workspaces")
    with pytest.raises(ConfigError, match=r"compute\.process\.workspaces"):
        await ProcessCompute(settings, FakeHost(tmp_path)).open()


async def test_a_folder_that_went_away_refuses_starts_until_it_is_back(lab: Lab) -> None:
    compute = await lab.open()
    lab.workspaces.rmdir()
    lab.workspaces.touch()
    request = lab.request()
    with pytest.raises(StartRefused, match="workspaces"):
        await compute.start(request)
    assert await compute.list() == []
    lab.workspaces.unlink()
    lab.workspaces.mkdir()
    await compute.start(request)
    (await lab.orders.caller(request)).order(["exit", 0])


@pytest.mark.parametrize("warm", [0, 1])
async def test_a_runner_that_cannot_be_loaded_is_told(lab: Lab, tmp_path: Path, warm: int) -> None:
    (tmp_path / "broken.py").write_text("raise RuntimeError('half installed')")
    lab.runner = RunnerCode(folder=str(tmp_path), module="broken")
    compute = await lab.open(warm=warm)
    with pytest.raises(StartRefused, match="half installed"):
        await compute.start(lab.request())
    assert list(lab.workspaces.iterdir()) == []


def server(*, python: str = "", keep: bool = True) -> ForkServer:
    return ForkServer(make_plan(ProcessSettings(), None), environment={}, keep=keep, python=python)


def test_a_missing_interpreter_is_told() -> None:
    with pytest.raises(StartRefused, match="/no/such/python cannot be started"):
        server(python="/no/such/python").fork()


@pytest.mark.parametrize("keep", [True, False])
def test_an_interpreter_that_is_none_is_given_up(tmp_path: Path, *, keep: bool) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o700)
    with pytest.raises(CapacityUnavailable):
        server(python=str(python), keep=keep).fork()


def test_a_machine_with_no_room_is_told_as_such_and_heals() -> None:
    forks = server()
    forks.fork().discard()
    assert forks.pid is not None
    before = resource.prlimit(forks.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(forks.pid, resource.RLIMIT_NOFILE, (5, before[1]))
    with pytest.raises(CapacityUnavailable, match="Too many open files"):
        forks.fork()
    resource.prlimit(forks.pid, resource.RLIMIT_NOFILE, before)
    forks.fork().discard()
    forks.close()


def test_the_helper_ends_though_no_descriptor_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(pid: int) -> int:
        raise OSError(24, "Too many open files")

    forks = server()
    forks.fork().discard()
    pid = forks.pid
    assert pid is not None
    monkeypatch.setattr(os, "pidfd_open", full)
    forks.close()
    assert forks.pid is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_no_start_is_taken_by_a_node_that_stops(lab: Lab) -> None:
    compute = await lab.open()
    await compute._pool.close()
    with pytest.raises(CapacityUnavailable, match="stopping"):
        await compute.start(lab.request())


async def test_a_crash_of_the_runner_is_told_with_its_last_words(lab: Lab) -> None:
    await lab.open()
    status = await lab.run(["raise", "the sky has fallen"])
    assert status.exit_code == 70
    assert status.detail.endswith("RuntimeError: the sky has fallen")


async def test_last_words_are_bounded_and_stop_nobody(lab: Lab) -> None:
    await lab.open()
    async with asyncio.timeout(60):
        status = await lab.run(["say", "\x00\x1b", 5_000_000], ["say", "the end", 1], ["exit", 3])
    assert status.exit_code == 3
    assert status.detail.endswith("the end")
    assert len(status.detail) <= 2000
    assert status.detail.isprintable()
