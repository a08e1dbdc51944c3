"""The folder of each attempt, and what is written in it for a Kedge that comes later.

`ROOT/BUILD-ATTEMPT/` holds `attempt.json` (who runs here), `exit.json` (how it ended) and `work`.
A folder is there whole or not at all: it is made and removed under another name.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import struct
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

from kedge import AttemptName, CapacityUnavailable, StartRefused

NEW = ".new-"
OLD = ".old-"
KEPT = "kept"
GET_FLAGS, SET_FLAGS, SPREAD = 0x80086601, 0x40086602, 0x00020000
NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM})


@dataclass(frozen=True, kw_only=True)
class Tenant:
    """Who runs in a folder."""

    compute_id: str
    build_uuid: str
    attempt: int
    #: of the supervisor
    pid: int
    start: int
    boot: str

    @property
    def name(self) -> str:
        """The folder's name, and the mark of the attempt's processes."""
        return str(AttemptName.of(self.build_uuid, self.attempt))


class Folders:
    """All folders of one node. Every method blocks: call it in a thread."""

    def __init__(self, root: Path, *, keep: bool = False) -> None:
        """Keep folders below `root`; with `keep`, removed ones go to `kept` there."""
        self.root = root
        self._keep = keep

    def open(self) -> list[Tenant]:
        """Make the root ready, clear what a killed Kedge left half done, return who has a folder."""
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        spread(self.root)
        tenants = []
        for entry in sorted(self.root.iterdir()):
            if entry.name.startswith((NEW, OLD)):
                remove_tree(entry)
            elif (tenant := _read_tenant(entry)) is not None:
                tenants.append(tenant)
        return tenants

    def make(self, tenant: Tenant) -> Path:
        """Make the folder of an attempt. Raises `StartRefused` or `CapacityUnavailable`."""
        fresh = self.root / f"{NEW}{tenant.name}"
        try:
            if fresh.exists():
                remove_tree(fresh)
            fresh.mkdir(mode=0o700)
            (fresh / "work").mkdir(mode=0o700)
            (fresh / "attempt.json").write_text(json.dumps(asdict(tenant)))
            if (self.root / tenant.name).exists():
                self.remove(tenant.name)
            return fresh.rename(self.root / tenant.name)
        except OSError as error:
            reason = f"no folder for the build can be made in {self.root} ({error.strerror})"
            if error.errno in NO_SPACE:
                raise CapacityUnavailable(reason) from None
            raise StartRefused(f"{reason}; make it writable or set compute.process.workspaces") from None

    def remove(self, name: str) -> None:
        """Remove a folder, or put it aside to be kept. A missing one is no error."""
        aside = self.root / f"{OLD}{name}-{uuid4().hex[:8]}"
        if self._keep:
            (self.root / KEPT).mkdir(exist_ok=True)
            aside = self.root / KEPT / f"{name}-{uuid4().hex[:8]}"
        with suppress(FileNotFoundError):
            (self.root / name).rename(aside)
            if not self._keep:
                remove_tree(aside)


def spread(root: Path) -> None:
    """Have ext4 put each new folder in `root` elsewhere on the disk; other file systems say no.

    For minutes after a file was removed ext4 steps over its inode whenever it needs one nearby. Workspaces
    side by side come and go so fast that half of a small build's time was lost in that.
    """
    with suppress(OSError):
        fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            (flags,) = struct.unpack("l", fcntl.ioctl(fd, GET_FLAGS, bytes(struct.calcsize("l"))))
            fcntl.ioctl(fd, SET_FLAGS, struct.pack("l", flags | SPREAD))
        finally:
            os.close(fd)


def _read_tenant(folder: Path) -> Tenant | None:
    try:
        fields = json.loads((folder / "attempt.json").read_bytes())
        tenant = Tenant(**fields)
    except (OSError, ValueError, TypeError):
        return None
    numbers = (tenant.attempt, tenant.pid, tenant.start)
    if not all(isinstance(number, int) and number >= 0 for number in numbers):
        return None
    name = AttemptName.read(tenant.build_uuid, str(tenant.attempt))
    return tenant if str(name) == folder.name else None


def remove_tree(folder: Path) -> None:
    """Remove a folder whatever its modes are. Raises `OSError` if it cannot."""
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        _open_up(folder)
        shutil.rmtree(folder)


def _open_up(folder: Path) -> None:
    with suppress(OSError):
        folder.chmod(0o700)
    for where, names, _ in os.walk(folder):
        for name in names:
            path = Path(where, name)
            if not path.is_symlink():
                with suppress(OSError):
                    path.chmod(0o700)
