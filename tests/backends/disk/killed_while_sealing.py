"""Seals copies of a log, each in a process that is killed one step later than the one before."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedge import LogKey
from kedge.testing.fake_host import FakeHost
from kedge_disk.log_store import DiskLogs, DiskLogSettings

if TYPE_CHECKING:
    from types import FrameType

WATCHED = ("kedge_disk", "shutil.py")


def die_after(steps: int) -> None:
    """Kill this process when a thread has come to that many lines of what seals."""
    left = [steps]

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if not any(name in frame.f_code.co_filename for name in WATCHED):
            return None
        # the loops over records and chunks take one step each
        if event == "line" and frame.f_code.co_name not in {"unpack", "pack", "entries", "end", "_count"}:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    threading.settrace(trace)


async def seal(folder: Path, build_uuid: str) -> None:
    store = DiskLogs(DiskLogSettings(max_bytes=1024 * 1024), FakeHost(folder))
    await store.open()
    await store.seal(LogKey(log_id=build_uuid, part=1))


def main(place: Path, build_uuid: str, stride: int) -> int:
    steps = 1
    while True:
        folder = place / f"killed-{steps:05}"
        shutil.copytree(place / "before", folder)
        child = os.fork()
        if child == 0:
            die_after(steps)
            asyncio.run(seal(folder, build_uuid))
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        if status == 0:
            return 0
        if not os.WIFSIGNALED(status):
            return 1
        steps += stride


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
