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
    """
    kept = 0
    for path in paths:
        source = os.path.join(stage, path)
        if os.path.lexists(source):
            above = _make_folders(workspace, path.split("/")[:-1])
            kept += 1 if above is None else _merge(source, os.path.join(workspace, path))
    return kept


def _make_folders(workspace: str, parts: list[str]) -> str | None:
    """The folder above a declared path; `None` if something else is in the way."""
    folder = workspace
    for part in parts:
        folder = os.path.join(folder, part)
        try:
            os.mkdir(folder, 0o755)
        except FileExistsError:
            if not _is_folder(folder):
                return None
    return folder


def _merge(source: str, target: str) -> int:
    if not os.path.lexists(target):
        os.rename(source, target)
        return 0
    if not (_is_folder(source) and _is_folder(target)):
        return 1
    return sum(_merge(os.path.join(source, name), os.path.join(target, name)) for name in os.listdir(source))


def _is_folder(path: str) -> bool:
    return stat.S_ISDIR(os.lstat(path).st_mode)
