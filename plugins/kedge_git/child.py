"""A child process whose pipes the event loop reads and writes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from kedge_git import pipes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

#: how long a child that was asked to end may take; git removes its lock files then
_PATIENCE = 10.0
#: what is kept of the messages of a failed child
_COMPLAINT_LIMIT = 2000


class Child:
    """A process in a group of its own. Made by `running`."""

    def __init__(self, process: subprocess.Popen[bytes], stdin: int, stdout: int, stderr: int) -> None:
        """Take over a process and this side's ends of its pipes; `stderr` is a file in memory."""
        self._process = process
        self._stdin: int | None = stdin
        self._stdout = stdout
        self._stderr = stderr

    async def write(self, data: bytes) -> None:
        """Write to its standard input. Raises `BrokenPipeError` when it listens no more."""
        if self._stdin is None:
            raise BrokenPipeError
        await pipes.write(self._stdin, data)

    def close_stdin(self) -> None:
        """Tell it that nothing more comes. No one may be in `write`."""
        if self._stdin is not None:
            os.close(self._stdin)
            self._stdin = None

    async def read(self) -> bytes:
        """What it has printed since; empty at the end."""
        return await pipes.read(self._stdout)

    def terminate(self) -> None:
        """Ask it and all that it has started to end."""
        self._signal(signal.SIGTERM)

    async def wait(self) -> int:
        """Its exit code, soon: it has closed its output or was asked to end, and is killed if it stays."""
        try:
            return await asyncio.to_thread(self._process.wait, _PATIENCE)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            return await asyncio.to_thread(self._process.wait)

    def complaint(self) -> str:
        """The beginning of what it wrote to its standard error."""
        return os.pread(self._stderr, _COMPLAINT_LIMIT, 0).decode(errors="replace").strip()

    async def end(self) -> None:
        """Leave nothing of it behind."""
        self.close_stdin()
        if self._process.returncode is None:
            self.terminate()
            await self.wait()
        pipes.close_all([self._stdout, self._stderr])

    def _signal(self, number: signal.Signals) -> None:
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)


@asynccontextmanager
async def running(
    argv: Sequence[str | Path], *, env: dict[str, str], cwd: Path, pass_fds: Sequence[int] = ()
) -> AsyncIterator[Child]:
    """Run a process for as long as the block lasts; what is left of it then is ended, cancelled or not."""
    starting = asyncio.create_task(asyncio.to_thread(_start, argv, env, cwd, pass_fds))
    try:
        child = await asyncio.shield(starting)
    except asyncio.CancelledError:
        await (await starting).end()
        raise
    try:
        yield child
    finally:
        await asyncio.shield(asyncio.create_task(child.end()))


def _start(argv: Sequence[str | Path], env: dict[str, str], cwd: Path, pass_fds: Sequence[int]) -> Child:
    opened: list[int] = []
    try:
        theirs_in, stdin = pipes.open_pipe(opened)
        stdout, theirs_out = pipes.open_pipe(opened)
        stderr = os.memfd_create("stderr")
        opened.append(stderr)
        process = subprocess.Popen(
            argv,
            env=env,
            cwd=cwd,
            stdin=theirs_in,
            stdout=theirs_out,
            stderr=stderr,
            pass_fds=pass_fds,
            start_new_session=True,
        )
    except BaseException:
        pipes.close_all(opened)
        raise
    pipes.close_all([theirs_in, theirs_out])
    os.set_blocking(stdin, False)
    os.set_blocking(stdout, False)
    return Child(process, stdin, stdout, stderr)
