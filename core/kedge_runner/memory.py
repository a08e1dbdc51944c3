"""Tells whether the kernel killed something for want of memory."""

from __future__ import annotations


def out_of_memory_kills() -> int:
    """How many processes of this cgroup the kernel has killed for memory; 0 if it cannot be told."""
    try:
        with open("/proc/self/cgroup", encoding="utf-8") as file:
            lines = file.read().splitlines()
    except OSError:
        return 0
    kills = 0
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            kills += _counter("/sys/fs/cgroup/memory", path, "memory.oom_control")
        elif not controllers:
            kills += _counter("/sys/fs/cgroup", path, "memory.events")
    return kills


def _counter(root: str, path: str, name: str) -> int:
    # a container is told the path that its host sees, and finds its own group at the root
    for folder in (root + path, root):
        try:
            with open(f"{folder}/{name}", encoding="utf-8") as file:
                counts = dict(line.split() for line in file)
            return int(counts["oom_kill"])
        except (OSError, ValueError, KeyError):
            continue
    return 0
