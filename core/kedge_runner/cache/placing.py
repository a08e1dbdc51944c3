"""Puts a restored tree where it belongs, once all of it is known to be good."""

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def put_in_place(stage: str, workspace: str, paths: Iterable[str]) -> int:
    """Move what was restored below `stage` to the same names below `workspace`; count what was not moved.

    What is there already stays: a cache replaces no file of the commit, and no link is followed.
    Raises `OSError`; then all is as it was before.
    """
    placing = _Placing(stage, workspace)
    try:
        return sum(placing.place(path) for path in paths)
    except BaseException:
        placing.undo()
        raise


class _Placing:
    """Remembers what it has moved and made."""

    def __init__(self, stage: str, workspace: str) -> None:
        self._stage = stage
        self._workspace = workspace
        self._moved: list[tuple[str, str]] = []
        self._made: list[str] = []

    def place(self, path: str) -> int:
        """Move a declared path, if it was restored; count what was not moved."""
        source = os.path.join(self._stage, path)
        if not os.path.lexists(source):
            return 0
        above = self._make_folders(path.split("/")[:-1])
        return 1 if above is None else self._merge(source, os.path.join(self._workspace, path))

    def undo(self) -> None:
        """Take everything back."""
        for source, target in reversed(self._moved):
            os.rename(target, source)
        for folder in reversed(self._made):
            os.rmdir(folder)

    def _make_folders(self, parts: list[str]) -> str | None:
        """The folder above a declared path; `None` if something else is in the way."""
        folder = self._workspace
        for part in parts:
            folder = os.path.join(folder, part)
            try:
                os.mkdir(folder, 0o755)
            except FileExistsError:
                if not _is_folder(folder):
                    return None
            else:
                self._made.append(folder)
        return folder

    def _merge(self, source: str, target: str) -> int:
        if not os.path.lexists(target):
            os.rename(source, target)
            self._moved.append((source, target))
            return 0
        if not (_is_folder(source) and _is_folder(target)):
            return 1
        names = os.listdir(source)
        return sum(self._merge(os.path.join(source, name), os.path.join(target, name)) for name in names)


def _is_folder(path: str) -> bool:
    return stat.S_ISDIR(os.lstat(path).st_mode)
