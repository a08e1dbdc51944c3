"""Limits that hold for a build as a whole, where the machine has cgroups (v1 or v2) that we may use."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

CONTROLLERS = ("memory", "pids", "cpu")
FOLDER = "kedge"
CPU_PERIOD = 100_000


def find_groups(mounts: str = "/proc/self/mountinfo", own: str = "/proc/self/cgroup") -> dict[str, str]:
    """The folders, by controller, in which groups for builds can be made: below the caller's own group."""
    paths = dict(_own_paths(Path(own)))
    found: dict[str, str] = {}
    for kind, root, point, options in _mounts(Path(mounts)):
        wanted = CONTROLLERS if kind == "cgroup2" else [name for name in CONTROLLERS if name in options]
        key = "" if kind == "cgroup2" else next(iter(wanted), None)
        if key is None or key not in paths:
            continue
        base = Path(point) / os.path.relpath(paths[key], root)
        usable = _usable_v2(base) if kind == "cgroup2" else [(name, base) for name in wanted]
        for name, place in usable:
            if name not in found and _make(place / FOLDER):
                found[name] = str(place / FOLDER)
    return found


def _own_paths(own: Path) -> list[tuple[str, str]]:
    with suppress(OSError):
        lines = [line.split(":", 2) for line in own.read_text().splitlines()]
        return [(name, path) for _, names, path in lines for name in names.split(",")]
    return []


def _mounts(mounts: Path) -> list[tuple[str, str, str, list[str]]]:
    found = []
    with suppress(OSError):
        for line in mounts.read_text().splitlines():
            left, _, right = line.partition(" - ")
            kind, _, options = right.split(" ", 2)
            if kind in {"cgroup", "cgroup2"}:
                root, point = left.split()[3:5]
                found.append((kind, root, point, options.split(",")))
    return found


def _usable_v2(own: Path) -> list[tuple[str, Path]]:
    # a v2 group with processes hands no controllers down, but its parent may be ours too
    for base in (own, own.parent):
        with suppress(OSError):
            handed = (base / "cgroup.subtree_control").read_text().split()
            usable = [name for name in CONTROLLERS if name in handed]
            if usable and os.access(base, os.W_OK) and _make(base / FOLDER):
                control = " ".join(f"+{name}" for name in usable)
                (base / FOLDER / "cgroup.subtree_control").write_text(control)
                return [(name, base) for name in usable]
    return []


def _make(folder: Path) -> bool:
    try:
        folder.mkdir(exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


class Groups:
    """The groups of one runner. Limits may be set before and after it has joined."""

    def __init__(self, bases: Mapping[str, str], name: str) -> None:
        """Use a folder called `name` below each of `bases`; nothing is made yet."""
        self._bases = bases
        self._name = name
        self._joined: dict[str, Path] = {}

    def apply(self, pid: int, *, memory: int | None, processes: int | None, cpus: float | None) -> None:
        """Put `pid` under these limits; `None` limits nothing. Impossible ones are left out."""
        for controller, value in (("memory", memory), ("pids", processes), ("cpu", cpus)):
            if controller in self._bases and (value is not None or controller in self._joined):
                with suppress(OSError):
                    self._limit(controller, value)
                    self._join(controller, pid)

    def _limit(self, controller: str, value: float | None) -> None:
        folder = Path(self._bases[controller]) / self._name
        folder.mkdir(exist_ok=True)
        for file, text in _limit_files(folder, controller, value):
            (folder / file).write_text(text)

    def _join(self, controller: str, pid: int) -> None:
        folder = Path(self._bases[controller]) / self._name
        if folder not in self._joined.values():
            (folder / "cgroup.procs").write_text(str(pid))
        self._joined[controller] = folder

    def kill(self) -> None:
        """Kill every member at once, where the kernel can."""
        for folder in set(self._joined.values()):
            with suppress(OSError):
                # without O_CREAT: the file is there in v2 alone
                fd = os.open(folder / "cgroup.kill", os.O_WRONLY | os.O_CLOEXEC)
                os.write(fd, b"1")
                os.close(fd)

    def oom_kills(self) -> int:
        """How many members were killed for want of memory."""
        folder = self._joined.get("memory")
        for name in ("memory.events", "memory.oom_control"):
            if folder is not None:
                with suppress(OSError, ValueError):
                    pairs = [line.split() for line in (folder / name).read_text().splitlines()]
                    return int(dict(pairs).get("oom_kill", 0))
        return 0

    def remove(self) -> None:
        """Remove the groups; their members must have ended."""
        for folder in set(self._joined.values()):
            with suppress(OSError):
                folder.rmdir()


def _limit_files(folder: Path, controller: str, value: float | None) -> list[tuple[str, str]]:
    v1 = not (folder / "cgroup.events").exists()
    if controller == "pids":
        return [("pids.max", "max" if value is None else str(value))]
    if controller == "memory":
        file = "memory.limit_in_bytes" if v1 else "memory.max"
        nothing = "-1" if v1 else "max"
        return [(file, nothing if value is None else str(value))]
    quota = None if value is None else int(value * CPU_PERIOD)
    if v1:
        return [("cpu.cfs_quota_us", str(-1 if quota is None else quota))]
    return [("cpu.max", f"{'max' if quota is None else quota} {CPU_PERIOD}")]


def remove_empty(bases: Mapping[str, str]) -> None:
    """Remove the groups that nobody is in any more."""
    for base in set(bases.values()):
        for folder in Path(base).iterdir():
            with suppress(OSError):
                folder.rmdir()
