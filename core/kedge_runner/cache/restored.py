"""What a build has found in its place, and whether it left that alone: then nothing has to be read again."""

from __future__ import annotations

import hashlib
import os
import time

from kedge_runner.jsontext import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kedge_runner.cache.tree import Tree
    from kedge_runner.cache.unit import Unit

#: so often it is looked whether the file system's clock has moved on, and so long is slept in between
LOOKS, LOOK_SECONDS = 50, 0.001
#: a clock that was set back by more than this share of the time between tells nothing any more
LARGEST_DRIFT, LEAST_DRIFT = 0.002, 0.001
RIGHTS = 0o777


class FolderIdentity:
    """A digest of which folders there are: the very same ones, not others that look like them."""

    def __init__(self) -> None:
        """None yet."""
        self._digest = hashlib.sha256()

    def add(self, name: bytes, found: os.stat_result) -> None:
        """Add the next one; their order counts."""
        about = (name, found.st_dev, found.st_ino, found.st_mode & RIGHTS)
        self._digest.update(b"%s\0%d %d %o\0" % about)

    def value(self) -> str:
        """Of all that were added."""
        return self._digest.hexdigest()


class Restored:
    """An archive that was put in its place whole, and when.

    Whatever changes a file, makes one, links or moves one to a place sets its change time, which no program
    can choose. So a tree is as it was if no file's is later, no folder is another one, and none is missing.
    """

    def __init__(self, facts: dict[str, Any]) -> None:
        """`facts` as `note` has left them. Raises `KeyError`, `TypeError` or `ValueError` for others."""
        self.fingerprint = str(facts["fingerprint"])
        self._key = str(facts["key"])
        self._files = int(facts["files"])
        self._bytes = int(facts["bytes"])
        self._folders = str(facts["folders"])
        self._moment = int(facts["moment"])
        self._wall, self._steady = (float(value) for value in facts["clocks"])

    def untouched(self, tree: Tree) -> bool:
        """Whether a tree is what was restored, by what the file system tells of it."""
        same = tree.files == self._files and tree.folders == self._folders
        return same and 0 < tree.newest <= self._moment and not self._was_set_back()

    def suffices(self, tree: Tree, unit: Unit) -> bool:
        """Whether nothing was downloaded besides; package managers rewrite their indexes all the same."""
        return unit.locked and self._key == unit.key and self._files == tree.files

    def alike(self, tree: Tree) -> bool:
        """Whether a tree may hold the same, so that it is worth to be read."""
        return (tree.files, tree.size) == (self._files, self._bytes)

    def _was_set_back(self) -> bool:
        """Whether the clock that files are stamped by lost time against the one that nobody sets."""
        wall, steady = _clocks()
        passed = steady - self._steady
        return passed < 0 or wall - self._wall < passed * (1 - LARGEST_DRIFT) - LEAST_DRIFT


def note(workspace: str, unit: Unit, hit: dict[str, Any], folders: str, moment: int) -> None:
    """Keep in mind what was restored of a unit, until it is saved. Raises `OSError`."""
    facts = {
        "key": hit["key"],
        "fingerprint": hit["fingerprint"],
        "files": hit["file_count"],
        "bytes": hit["tree_bytes"],
        "folders": folders,
        "moment": moment,
        "clocks": _clocks(),
    }
    with open(_file(workspace, unit), "wb") as file:
        file.write(dumps(facts).encode())


def recall(workspace: str, unit: Unit) -> Restored | None:
    """What was restored of a unit; `None` if nothing was, or nobody knows."""
    try:
        with open(_file(workspace, unit), "rb") as file:
            return Restored(loads(file.read()))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def moment_of(folder: str) -> int:
    """A time by the file system's own clock: of all before, and earlier than of any change to come.

    Its clock may stand still for milliseconds. 0 if it does not move on soon. Raises `OSError`.
    """
    file = os.open(os.path.join(folder, ".now"), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        began = os.fstat(file).st_ctime_ns
        for _ in range(LOOKS):
            os.utime(file)
            if os.fstat(file).st_ctime_ns > began:
                return began
            time.sleep(LOOK_SECONDS)
    finally:
        os.close(file)
    return 0


def _clocks() -> list[float]:
    """The clock that files are stamped by, and the one that nobody sets."""
    return [time.time(), time.monotonic()]


def _file(workspace: str, unit: Unit) -> str:
    return os.path.join(workspace, f".restored-{unit.name}")
