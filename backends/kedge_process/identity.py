"""Names a process so that it cannot be taken for another one that got its number later."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@cache
def boot_id() -> str:
    """Different after each start of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]


@dataclass(frozen=True)
class ProcessId:
    """A process number with the moment it began and the boot it belongs to."""

    pid: int
    start_time: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> ProcessId | None:
        """The identity of a process that runs now."""
        try:
            fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            return None
        if fields[0] in {b"Z", b"X"}:
            return None
        return cls(pid, int(fields[19]), boot_id())

    @classmethod
    def parse(cls, text: str) -> ProcessId | None:
        """Read what `str` wrote; `None` for anything else."""
        parts = text.split("-")
        if len(parts) != 3 or not (parts[0].isdecimal() and parts[1].isdecimal()):
            return None
        return cls(int(parts[0]), int(parts[1]), parts[2])

    def __str__(self) -> str:
        """The compute id."""
        return f"{self.pid}-{self.start_time}-{self.boot}"

    def runs(self) -> bool:
        """Whether this very process is alive."""
        return ProcessId.of(self.pid) == self

    def open(self) -> int | None:
        """A pidfd of this very process, or `None` if it is gone."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return None
        if self.runs():
            return descriptor
        os.close(descriptor)
        return None
