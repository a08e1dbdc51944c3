"""One thing to cache: folders that belong together, and the key they are kept under."""

from __future__ import annotations

import hashlib
import os

from kedge_runner.cache.errors import CacheFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

#: changes when archives of before can no longer be read
FORMAT = "1"
HOME, REPOSITORY = "home", "repo"
MOST_PATHS, LONGEST_PATH = 32, 1024
LONGEST_NAME, LONGEST_KEY, MOST_KEYS = 64, 512, 10
NAME_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


class Unit:
    """`paths` are relative to the workspace; `excludes` are left out of what is saved.

    What is `locked` holds downloads that its key tells one by one: with as many files there is nothing new.
    """

    def __init__(
        self,
        name: str,
        paths: Sequence[str],
        *,
        key: str,
        restore_keys: Sequence[str] = (),
        excludes: Sequence[str] = (),
        locked: bool = False,
    ) -> None:
        """Check everything. Raises `CacheFailed`."""
        if not name or len(name) > LONGEST_NAME or not NAME_LETTERS.issuperset(name):
            raise CacheFailed(f"{name[:80]!r} is no name: use 1 to 64 letters, digits, dots, _ and -")
        if not 1 <= len(paths) <= MOST_PATHS:
            raise CacheFailed(f"give 1 to {MOST_PATHS} paths")
        if len(restore_keys) > MOST_KEYS:
            raise CacheFailed(f"give at most {MOST_KEYS} restore_keys")
        self.name = name
        self.paths = sorted(paths)
        self.key = _checked_key(key)
        self.restore_keys = [_checked_key(one) for one in restore_keys]
        self.excludes = list(excludes)
        self.locked = locked

    @property
    def after_install(self) -> bool:
        """Whether it lies within what installing dependencies makes anew."""
        return any("/node_modules/" in path for path in self.paths)

    def version(self, compression: str) -> str:
        """Archives of another version cannot be restored here: other folders, machine or compression."""
        machine = os.uname()
        parts = [FORMAT, compression, machine.sysname, machine.machine, *self.paths]
        return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:32]

    def to_json(self) -> dict[str, Any]:
        """For the process that does the work."""
        names = ("name", "paths", "key", "restore_keys", "excludes", "locked")
        return {name: getattr(self, name) for name in names}


def place(path: str, root: str) -> str:
    """Where a declared path lies in the workspace: `~/…` at home, any other in the folder `root`.

    Raises `CacheFailed` for one that could lead elsewhere.
    """
    if len(path) > LONGEST_PATH or not path.isprintable():
        raise CacheFailed(f"{path[:80]!r} is no path")
    base, rest = (HOME, path[2:]) if path.startswith("~/") else (root, path)
    parts = [part for part in rest.rstrip("/").split("/") if part != "."]
    if not parts or not all(parts) or ".." in parts or "~" in parts[0][:1] or ".git" in parts:
        raise CacheFailed(f"{path!r} must name a folder or file within the project or, as ~/NAME, at home")
    return "/".join([base, *parts])


def _checked_key(key: str) -> str:
    if not key or len(key) > LONGEST_KEY or not key.isprintable():
        raise CacheFailed(f"a key is 1 to {LONGEST_KEY} printable characters, not {key[:80]!r}")
    return key
