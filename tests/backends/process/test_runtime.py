"""The runtime `process` keeps the contract, and what it promises beyond."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from kedge import CapacityUnavailable, InstanceKind, InstanceRequest, StartRefused
from kedge.testing.descriptors import open_descriptors
from kedge.testing.fake_host import FakeHost
from kedge.testing.runtime import RuntimeSuite
from kedge_process.guard.processes import has_ended
from kedge_process.pool import RunnerPool
from kedge_process.runtime import ProcessRuntime
from kedge_process.runtime_settings import ProcessRuntimeSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from kedge_process.lease import Lease


#: a Kedge that is killed as soon as its worker has said which process it is
KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from kedge import InstanceKind, InstanceRequest
from kedge.testing.fake_host import FakeHost
from kedge_process.runtime import ProcessRuntime
from kedge_process.runtime_settings import ProcessRuntimeSettings

async def main():
    runtime = ProcessRuntime(ProcessRuntimeSettings(), FakeHost(data_dir=Path(sys.argv[1])))
    await runtime.open()
    entry = ("sh", "-c", "sleep 600 & echo $! && wait")
    names = {"account_id": "a", "worker": "w", "version_id": "v", "instance_id": "i"}
    instance = await runtime.start(InstanceRequest(kind=InstanceKind.COMMAND, entry=entry, **names))
    async for data in instance.output():
        print(data.decode(), end="", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


class TestProcessRuntime(RuntimeSuite):
    @pytest.fixture
    def make_runtime(self, tmp_path: Path) -> Callable[[], ProcessRuntime]:
        return lambda: ProcessRuntime(ProcessRuntimeSettings(), FakeHost(data_dir=tmp_path))

    @pytest.fixture
    def running(self, tmp_path: Path) -> Callable[[], int]:
        return lambda: len(list(tmp_path.glob("instances/work/*/attempt.json")))


@pytest.fixture
async def runtime(tmp_path: Path) -> AsyncIterator[ProcessRuntime]:
    """One that has a single port."""
    runtime = ProcessRuntime(ProcessRuntimeSettings(ports=(28_641, 28_641)), FakeHost(data_dir=tmp_path))
    await runtime.open()
    yield runtime
    await runtime.close()


def request(*entry: str, **fields: Any) -> InstanceRequest:
    known = {
        "account_id": "a",
        "worker": "w",
        "version_id": "v",
        "kind": InstanceKind.COMMAND,
        "entry": entry,
    }
    return InstanceRequest(**{"instance_id": uuid4().hex[:12], **known, **fields})


async def runs(runtime: ProcessRuntime) -> None:
    """There is a port for an instance."""
    instance = await runtime.start(request("sleep", "60"))
    await instance.stop(grace=0)


async def test_a_refused_start_leaves_neither_port_nor_pipe(runtime: ProcessRuntime, tmp_path: Path) -> None:
    await runs(runtime)
    before = open_descriptors()
    for refused in (request(), request("app:app", kind=InstanceKind.ASGI)):
        with pytest.raises(StartRefused):
            await runtime.start(refused)
    assert open_descriptors() <= before
    assert list((tmp_path / "instances/pipes").iterdir()) == []
    await runs(runtime)


async def test_a_start_that_has_no_pipe_leaves_no_port(runtime: ProcessRuntime, tmp_path: Path) -> None:
    taken = request("sleep", "60")
    (tmp_path / "instances/pipes" / taken.instance_id).touch()
    with pytest.raises(FileExistsError):
        await runtime.start(taken)
    await runs(runtime)


async def test_a_pipe_that_can_be_opened_at_one_end_only_is_let_go(
    runtime: ProcessRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await runs(runtime)
    before, open_file = open_descriptors(), os.open

    def open_some(path: Any, flags: int, *more: Any) -> int:
        if flags & os.O_WRONLY and "pipes" in str(path):
            raise OSError(24, "Too many open files")
        return open_file(path, flags, *more)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", open_some)
        with pytest.raises(OSError, match="Too many open files"):
            await runtime.start(request("sleep", "60"))
    assert open_descriptors() <= before
    assert list((tmp_path / "instances/pipes").iterdir()) == []
    await runs(runtime)


async def test_starts_that_were_given_up_are_forgotten_once_they_have_ended(runtime: ProcessRuntime) -> None:
    starting = asyncio.create_task(runtime.start(request("sleep", "60")))
    await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert runtime._given_up
    async with asyncio.timeout(60):
        await asyncio.gather(*runtime._given_up)
        await asyncio.sleep(0)
    assert not runtime._given_up
    await runs(runtime)


async def test_who_waits_for_a_runner_hears_of_any_failure_to_make_one() -> None:
    def fork() -> Lease:
        raise OSError(24, "Too many open files")

    pool = RunnerPool(fork, warm=0)
    async with asyncio.timeout(60):
        for _ in range(2):
            with pytest.raises(CapacityUnavailable, match="Too many open files"):
                await pool.take()
    await pool.close()


def test_what_was_served_ends_with_the_kedge_that_served_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path], stdout=subprocess.PIPE, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL

    with suppress(ProcessLookupError):  # it has ended already
        pidfd = os.pidfd_open(int(done.stdout.splitlines()[-1]))
        try:
            assert has_ended(pidfd, within=30)
        finally:
            os.close(pidfd)
    while not list(tmp_path.glob("instances/work/*/exit.json")):
        time.sleep(0.01)
