"""What a runner gets of Kedge, and what it does not."""

from __future__ import annotations

import os
import signal
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kedge_process.guard import processes

if TYPE_CHECKING:
    from tests.backends.process.conftest import Lab


def proc(pid: int, name: str) -> bytes:
    return Path(f"/proc/{pid}/{name}").read_bytes()


def parent_of(pid: int) -> int:
    process = processes.read(pid)
    assert process is not None
    return process.parent


def descriptors(pid: int) -> dict[int, str]:
    found = {}
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        found[int(entry.name)] = str(entry.readlink())
    return found


async def test_no_descriptor_of_kedge_leaks_into_a_build(lab: Lab, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, (tmp_path / "database").open("w") as file:
        for fd in (listening.fileno(), file.fileno()):
            os.set_inheritable(fd, True)
        await lab.open()
        await lab.start(["wait"])
        _, runner = await lab.start(["wait"])
    held = descriptors(runner.pid)
    assert {number for number in held if number < 3} == {0, 1, 2}
    assert held[0] == held[1] == os.devnull
    assert held[2].startswith("pipe:")
    (call,) = [held[number] for number in held if number >= 3]
    assert call.startswith("socket:")
    # its record, and the error output of its runner
    guarded = descriptors(parent_of(runner.pid))
    assert sorted(guarded)[:3] == [0, 1, 2]
    assert {Path(held).name.partition(":")[0] for number, held in guarded.items() if number > 2} == {
        "exit.json",
        "pipe",
    }


async def test_the_token_is_in_no_argument_environment_or_file(lab: Lab) -> None:
    compute = await lab.open()
    _, runner = await lab.start(["command", "sleep", "60"], ["wait"])
    token = runner.hello["token"].encode()
    helpers = [runner.pid, parent_of(runner.pid), compute._forks.pid or 0]
    helpers += [process.pid for process in processes.descendants(runner.pid)]
    for pid in helpers:
        for name in ("cmdline", "environ"):
            assert token not in proc(pid, name)
    for path in lab.folder.rglob("*"):
        assert path.is_dir() or token not in path.read_bytes()


async def test_the_environment_is_scrubbed(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    await lab.open()
    _, runner = await lab.start(["wait"])
    environ = runner.hello["environ"]
    assert environ["PATH"] == os.environ["PATH"]
    assert environ["KEDGE_ATTEMPT_ID"] == f"{runner.hello['build_uuid']}-1"
    assert not {"AWS_SECRET_ACCESS_KEY", "PYTHONPATH", "HOME"} & set(environ)
    for pid in (runner.pid, parent_of(runner.pid)):
        assert b"s3cret" not in proc(pid, "environ")


async def test_a_workspace_is_private_and_the_runner_works_in_it(lab: Lab) -> None:
    await lab.open()
    _, runner = await lab.start(["wait"])
    folder = lab.folder_of(runner)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert runner.hello["workspace"] == runner.hello["cwd"] == str(folder / "work")
    assert list((folder / "work").iterdir()) == []


async def test_a_runner_has_a_session_and_a_group_of_its_own(lab: Lab) -> None:
    await lab.open()
    _, runner = await lab.start(["wait"])
    assert os.getsid(runner.pid) not in {os.getsid(0), runner.pid}
    assert os.getsid(runner.pid) == parent_of(runner.pid)
    assert os.getpgid(runner.pid) == runner.pid


@pytest.mark.parametrize("ignored_by_kedge", [signal.SIGHUP, signal.SIGQUIT])
async def test_a_runner_blocks_no_signal_and_ignores_what_python_does(
    lab: Lab, ignored_by_kedge: signal.Signals
) -> None:
    before = signal.signal(ignored_by_kedge, signal.SIG_IGN)
    try:
        await lab.open()
    finally:
        signal.signal(ignored_by_kedge, before)
    _, runner = await lab.start()
    lines = proc(runner.pid, "status").decode().splitlines()
    masks = {
        line.split(":")[0]: int(line.split()[1], 16)
        for line in lines
        if line.startswith(("SigBlk", "SigIgn"))
    }
    python_ignores = sum(1 << (number - 1) for number in (signal.SIGPIPE, signal.SIGXFSZ))
    # Only the standard signals: the C library keeps a few of the real-time ones to itself.
    ignored = masks["SigIgn"] & ((1 << 31) - 1)
    assert (masks["SigBlk"], ignored) == (0, python_ignores)


async def test_builds_give_way(lab: Lab) -> None:
    await lab.open(nice=7)
    _, runner = await lab.start(["wait"])
    assert os.getpriority(os.PRIO_PROCESS, runner.pid) == os.getpriority(os.PRIO_PROCESS, 0) + 7
    assert proc(runner.pid, "oom_score_adj") == b"500\n"
