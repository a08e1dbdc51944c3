"""Control groups, version 1 or 2, where the machine has them and Kedge may use them."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path("/sys/fs/cgroup")
FOLDER = "kedge"
CONTROLLERS = ("memory", "pids")


class Cgroups:
    """Where groups for attempts are made."""

    def __init__(self) -> None:
        """Find out what there is; an empty list if nothing may be used."""
        self.version, self.parents = _find()

    def make(self, name: str, *, memory: int | None, processes: int | None) -> Group:
        """A group for one attempt. What cannot be made is left out."""
        folders = []
        for controller, parent in self.parents.items():
            folder = parent / name
            with suppress(OSError):
                folder.mkdir(exist_ok=True)
                self._limit(folder, controller, memory=memory, processes=processes)
                folders.append(folder)
        return Group(folders)

    def group(self, name: str) -> Group:
        """The group of an attempt that was made earlier."""
        folders = [parent / name for parent in self.parents.values()]
        return Group([folder for folder in folders if folder.is_dir()])

    def _limit(self, folder: Path, controller: str, *, memory: int | None, processes: int | None) -> None:
        if self.version == 1:
            files = {"memory": ("memory.limit_in_bytes", memory), "pids": ("pids.max", processes)}
            wanted = [files[controller]]
        else:
            wanted = [("memory.max", memory), ("pids.max", processes)]
        for file, value in wanted:
            if value is not None:
                (folder / file).write_text(str(value))


class Group:
    """The processes of one attempt, however they tried to get away."""

    def __init__(self, folders: list[Path]) -> None:
        """One folder a controller in version 1, one in all in version 2."""
        self.folders = folders

    def pids(self) -> set[int]:
        """Who is in it."""
        found: set[int] = set()
        for folder in self.folders:
            with suppress(OSError):
                found |= {int(line) for line in (folder / "cgroup.procs").read_text().split()}
        return found

    def kill(self) -> None:
        """Kill everybody in it."""
        for folder in self.folders:
            with suppress(OSError):
                (folder / "cgroup.kill").write_text("1")
        for pid in self.pids():
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)

    def out_of_memory_kills(self) -> int:
        """How many of them the kernel killed for want of memory."""
        return max((count for folder in self.folders for count in _oom_kills(folder)), default=0)

    def remove(self) -> None:
        """Remove the group, which must be empty."""
        for folder in self.folders:
            with suppress(OSError):
                folder.rmdir()


def _oom_kills(folder: Path) -> Iterator[int]:
    for name in ("memory.oom_control", "memory.events"):
        with suppress(OSError):
            for line in (folder / name).read_text().splitlines():
                key, _, value = line.partition(" ")
                if key == "oom_kill":
                    yield int(value)


def _find() -> tuple[int, dict[str, Path]]:
    if (ROOT / "cgroup.controllers").exists():
        parent = _make_parent(ROOT / FOLDER)
        with suppress(OSError):
            (ROOT / "cgroup.subtree_control").write_text("+memory +pids")
            (ROOT / FOLDER / "cgroup.subtree_control").write_text("+memory +pids")
        return 2, {"unified": parent} if parent else {}
    parents = {name: _make_parent(ROOT / name / FOLDER) for name in CONTROLLERS}
    return 1, {name: parent for name, parent in parents.items() if parent is not None}


def _make_parent(folder: Path) -> Path | None:
    try:
        folder.mkdir(exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None
