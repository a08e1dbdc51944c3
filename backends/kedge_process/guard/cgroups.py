"""Limits that hold for a build as a whole, where the machine has cgroups (v1 or v2) that we may use."""

from __future__ import annotations

import os
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from .messages import Quota

CONTROLLERS = ("memory", "pids", "cpu")
FOLDER = "kedge"
CPU_PERIOD = 100_000


def find_groups(mounts: str = "/proc/self/mountinfo", own: str = "/proc/self/cgroup") -> dict[str, str]:
    """The folders, by controller, in which groups for builds can be made: below the caller's own group."""
    paths = {
        name: path
        for _, names, path in (line.split(":", 2) for line in _lines(own))
        for name in names.split(",")
    }
    found: dict[str, str] = {}
    for kind, root, point, options in _mounts(mounts):
        wanted = [name for name in CONTROLLERS if name in options]
        key = "" if kind == "cgroup2" else next(iter(wanted), None)
        if key is None or key not in paths:
            continue
        base = os.path.normpath(f"{point}/{os.path.relpath(paths[key], root)}")
        usable = _usable_v2(base) if kind == "cgroup2" else dict.fromkeys(wanted, base)
        for name, place in usable.items():
            if name not in found and _make(f"{place}/{FOLDER}"):
                found[name] = f"{place}/{FOLDER}"
    return found


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().splitlines()
    except OSError:
        return []


def _mounts(mounts: str) -> list[tuple[str, str, str, list[str]]]:
    found = []
    for line in _lines(mounts):
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ", 2)
        if kind in {"cgroup", "cgroup2"}:
            root, point = left.split()[3:5]
            found.append((kind, root, point, options.split(",")))
    return found


def _usable_v2(own: str) -> dict[str, str]:
    # a v2 group with processes hands no controllers down, but its parent may be ours too
    for base in (own, os.path.dirname(own)):
        handed = " ".join(_lines(f"{base}/cgroup.subtree_control")).split()
        usable = [name for name in CONTROLLERS if name in handed]
        if usable and os.access(base, os.W_OK) and _make(f"{base}/{FOLDER}"):
            with suppress(OSError):
                _write(f"{base}/{FOLDER}/cgroup.subtree_control", " ".join(f"+{name}" for name in usable))
                return dict.fromkeys(usable, base)
    return {}


def _write(path: str, text: str) -> None:
    # never O_CREAT: a name that is missing is a feature that is missing
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _make(folder: str) -> bool:
    with suppress(OSError):
        os.makedirs(folder, exist_ok=True)
    return os.access(folder, os.W_OK)


class Groups:
    """The groups of one runner. Limits may be set before and after it has joined."""

    def __init__(self, bases: Mapping[str, str], name: str) -> None:
        """Use a folder called `name` below each of `bases`; nothing is made yet."""
        self._folders = {controller: f"{base}/{name}" for controller, base in bases.items()}
        self._joined: dict[str, str] = {}

    def apply(self, pid: int, quota: Quota) -> None:
        """Put `pid` under these limits. Impossible ones are left out."""
        limits = {"memory": quota["memory"], "pids": quota["processes"], "cpu": quota["cpus"]}
        for controller, folder in self._folders.items():
            value = limits[controller]
            if value is not None or controller in self._joined:
                with suppress(OSError):
                    os.makedirs(folder, exist_ok=True)
                    _limit(controller, folder, value)
                    if folder not in self._joined.values():
                        _write(f"{folder}/cgroup.procs", str(pid))
                    self._joined[controller] = folder

    def kill(self) -> None:
        """Kill every member at once, where the kernel can."""
        for folder in set(self._joined.values()):
            with suppress(OSError):
                _write(f"{folder}/cgroup.kill", "1")

    def oom_kills(self) -> int:
        """How many members were killed for want of memory."""
        folder = self._joined.get("memory")
        for name in ("memory.events", "memory.oom_control"):
            for line in _lines(f"{folder}/{name}") if folder else ():
                key, _, count = line.partition(" ")
                if key == "oom_kill":
                    return int(count)
        return 0

    def remove(self) -> None:
        """Remove the groups; their members must have ended."""
        for folder in set(self._joined.values()):
            with suppress(OSError):
                os.rmdir(folder)


def _limit(controller: str, folder: str, value: float | None) -> None:
    v1 = not os.path.exists(f"{folder}/cgroup.events")
    if controller == "cpu":
        quota = None if value is None else int(value * CPU_PERIOD)
        if v1:
            _write(f"{folder}/cpu.cfs_quota_us", str(-1 if quota is None else quota))
        else:
            _write(f"{folder}/cpu.max", f"{'max' if quota is None else quota} {CPU_PERIOD}")
    elif controller == "pids":
        _write(f"{folder}/pids.max", "max" if value is None else str(value))
    else:
        text = str(value) if value is not None else "-1" if v1 else "max"
        _write(f"{folder}/memory.limit_in_bytes" if v1 else f"{folder}/memory.max", text)
        # at its limit a build shall fail, not crawl along on swap; without swap there is no such file
        swap = ("memory.memsw.limit_in_bytes", text) if v1 else ("memory.swap.max", "0")
        with suppress(OSError):
            _write(f"{folder}/{swap[0]}", swap[1])


def remove_empty(bases: Mapping[str, str]) -> None:
    """Remove the groups that nobody is in any more."""
    for base in set(bases.values()):
        for name in os.listdir(base):
            with suppress(OSError):
                os.rmdir(f"{base}/{name}")
