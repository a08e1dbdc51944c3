"""Who outlives whom: Kedge, the fork server, supervisors, runners and what builds leave behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedge import ComputeState, ExitCause
from kedge.testing.orders import STAND_IN
from kedge_process.guard import processes

if TYPE_CHECKING:
    from tests.backends.process.conftest import Lab

    from kedge import ComputeRequest

KEDGE = """
import asyncio, json, sys
import structlog
from pathlib import Path
from kedge import ComputeRequest
from kedge.testing.fake_host import FakeHost
from kedge_process.compute import ProcessCompute
from kedge_process.plan import RunnerCode
from kedge_process.settings import ProcessSettings

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))

async def main(folder, stand_in, request):
    runner = RunnerCode(folder=stand_in, module="kedge_runner.main")
    compute = ProcessCompute(ProcessSettings(), FakeHost(Path(folder)), runner=runner)
    await compute.open()
    compute_id = await compute.start(ComputeRequest(**json.loads(request)))
    lease = await compute._pool.take()
    print(json.dumps([compute_id, lease.pid, compute._forks.pid]), flush=True)
    await asyncio.get_running_loop().create_future()

asyncio.run(main(*sys.argv[1:]))
"""


def pidfd(pid: int) -> int:
    process = processes.read(pid)
    assert process is not None
    fd = processes.open_pidfd(pid, process.start)
    assert fd is not None
    return fd


async def ends(fd: int) -> None:
    """Wait for the end of a process."""
    assert await asyncio.to_thread(processes.has_ended, fd, within=20)
    os.close(fd)


def command_of(pid: int) -> processes.Process:
    """The command that a runner is about to start."""
    while True:
        for process in processes.descendants(pid):
            if b"KEDGE_ATTEMPT_ID" in Path(f"/proc/{process.pid}/environ").read_bytes():
                return process


FIELDS = ("build_uuid", "attempt", "endpoint", "token", "trusted")


async def other_kedge(lab: Lab, request: ComputeRequest) -> tuple[asyncio.subprocess.Process, list[Any]]:
    """Another Kedge that starts the request; returns it and `[compute id, waiting runner, fork server]`."""
    fields = {name: getattr(request, name) for name in FIELDS}
    argv = [sys.executable, "-c", KEDGE, str(lab.folder), str(STAND_IN), json.dumps(fields)]
    kedge = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
    assert kedge.stdout is not None
    line = await kedge.stdout.readline()
    try:
        return kedge, json.loads(line)
    except ValueError:
        kedge.kill()
        raise


async def test_a_build_survives_the_kill_of_kedge_and_is_adopted(lab: Lab) -> None:
    request = lab.request()
    kedge, (compute_id, waiting, server) = await other_kedge(lab, request)
    runner = await lab.orders.caller(request)
    runner.order(["daemon"], ["wait"], ["exit", 9])
    daemon = await lab.orders.caller(request, "daemon")
    helpers = [pidfd(waiting), pidfd(server)]
    kedge.kill()
    await kedge.wait()
    for helper in helpers:
        await ends(helper)
    assert not runner.is_gone
    compute = await lab.open()
    (status,) = await compute.list()
    assert (status.compute_id, status.state) == (compute_id, ComputeState.RUNNING)
    runner.go_on()
    ended = await lab.exits.of(status.compute_id)
    assert (ended.exit_code, ended.cause) == (9, ExitCause.SELF)
    await daemon.gone()


async def test_an_adopted_build_can_be_stopped(lab: Lab) -> None:
    request = lab.request()
    kedge, _ = await other_kedge(lab, request)
    runner = await lab.orders.caller(request)
    runner.order(["daemon"], ["ignore"])
    daemon = await lab.orders.caller(request, "daemon")
    kedge.kill()
    await kedge.wait()
    compute = await lab.open()
    (status,) = await compute.list()
    await compute.stop(status.compute_id, grace=0.05)
    await runner.gone()
    await daemon.gone()


async def test_a_build_that_ends_while_kedge_is_down_leaves_no_daemon_and_its_exit_code(lab: Lab) -> None:
    request = lab.request()
    kedge, _ = await other_kedge(lab, request)
    runner = await lab.orders.caller(request)
    runner.order(["daemon"], ["wait"], ["exit", 4])
    daemon = await lab.orders.caller(request, "daemon")
    supervisor = processes.read(runner.pid)
    assert supervisor is not None
    fd = pidfd(supervisor.parent)
    kedge.kill()
    await kedge.wait()
    runner.go_on()
    await daemon.gone()
    await ends(fd)
    compute = await lab.open()
    (status,) = await compute.list()
    assert (status.state, status.exit_code, status.cause) == (ComputeState.EXITED, 4, ExitCause.SELF)


async def test_a_killed_fork_server_is_replaced(lab: Lab) -> None:
    compute = await lab.open()
    assert (await lab.run(["exit", 0])).exit_code == 0
    for _ in range(3):
        (await compute._pool.take()).discard()
        fd = pidfd(compute._forks.pid or 0)
        signal.pidfd_send_signal(fd, signal.SIGKILL)
        await ends(fd)
        assert (await lab.run(["exit", 3])).exit_code == 3


def forked_by(supervisor: int) -> processes.Process:
    """The runner of a supervisor, which forks it a moment after it was forked itself."""
    while not (found := processes.descendants(supervisor)):
        pass
    (runner,) = found
    return runner


async def test_a_waiting_runner_that_was_killed_is_not_used(lab: Lab) -> None:
    compute = await lab.open()
    await lab.run(["exit", 0])
    lease = await compute._pool.take()
    compute._pool._ready.appendleft(lease)
    fd = pidfd(lease.pid)
    waiting = await asyncio.to_thread(forked_by, lease.pid)
    processes.kill(waiting)
    await ends(fd)
    assert (await lab.run(["exit", 3])).exit_code == 3


async def test_nothing_survives_a_killed_supervisor(lab: Lab) -> None:
    await lab.open()
    compute_id, runner = await lab.start()
    runner.order(["command", "sleep", "1000"], ["ignore"])
    sleep = await asyncio.to_thread(command_of, runner.pid)
    fds = [pidfd(runner.pid), pidfd(sleep.pid)]
    assert sleep.session == sleep.pid
    itself = processes.read(runner.pid)
    assert itself is not None
    guard = processes.read(itself.parent)
    assert guard is not None
    processes.kill(guard)
    status = await lab.exits.of(compute_id)
    assert (status.state, status.cause) == (ComputeState.EXITED, ExitCause.INFRASTRUCTURE)
    for fd in fds:
        await ends(fd)


async def test_a_process_that_has_got_the_number_of_an_ended_one_is_left_alone(lab: Lab) -> None:
    compute = await lab.open()
    _, runner = await lab.start(["wait"], ["exit", 0])
    stranger = await asyncio.create_subprocess_exec("sleep", "1000", start_new_session=True)
    note = lab.folder_of(runner) / "attempt.json"
    fields = json.loads(note.read_text())
    await lab.close()
    note.write_text(json.dumps({**fields, "pid": stranger.pid, "start": fields["start"] - 1}))
    compute = await lab.open()
    (status,) = await compute.list()
    assert (status.state, status.cause) == (ComputeState.EXITED, ExitCause.INFRASTRUCTURE)
    await compute.stop(status.compute_id, grace=0)
    assert stranger.returncode is None
    stranger.kill()
    await stranger.wait()


async def test_what_ran_before_a_reboot_has_ended(lab: Lab) -> None:
    await lab.open()
    compute_id, runner = await lab.start(["wait"])
    note = lab.folder_of(runner) / "attempt.json"
    await lab.close()
    note.write_text(json.dumps({**json.loads(note.read_text()), "boot": "another"}))
    compute = await lab.open()
    status = await compute.inspect(compute_id)
    assert (status.state, status.cause) == (ComputeState.EXITED, ExitCause.INFRASTRUCTURE)
    assert "restarted" in status.detail
    assert not runner.is_gone


async def test_a_name_that_looks_like_a_stat_line_does_not_confuse(tmp_path: Path) -> None:
    path = tmp_path / "x) Z 1 1 1 ("
    path.symlink_to("/bin/sleep")
    child = await asyncio.create_subprocess_exec(str(path), "1000")
    process = processes.read(child.pid)
    assert process is not None
    assert (process.parent, process.zombie) == (os.getpid(), False)
    child.kill()
    await child.wait()
    assert processes.read(child.pid) is None
