"""Puts a restored tree where it belongs, once all of it is known to be good."""

from __future__ import annotations

import os
import shutil
import stat

from kedge_runner.jsontext import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import BinaryIO

    #: from where to where something is moved, or nothing and the folder that is made
    Step = tuple[str | None, str]

#: how folders are called that caches are restored into before they are put in place
STAGE = ".restore-"
#: in such a folder; what is restored lies in others beside it
JOURNAL = "steps"


def put_in_place(stage: str, workspace: str, paths: Iterable[str]) -> int:
    """Move what was restored below `stage` to the same names below `workspace`; count what was not moved.

    What is there already stays: a cache replaces no file of the commit, and no link is followed.
    Raises `OSError`; then all is as it was before. If the process is killed meanwhile, `take_back` does that.
    """
    with open(os.path.join(stage, JOURNAL), "xb", buffering=0) as journal:
        placing = _Placing(stage, workspace, journal)
        try:
            return sum(placing.place(path) for path in paths)
        except BaseException:
            undo(placing.steps)
            raise
        finally:
            os.unlink(os.path.join(stage, JOURNAL))


def take_back(workspace: str) -> None:
    """Undo what a process that was killed had begun to put in place, and remove what it had restored.

    Raises `OSError`.
    """
    for name in os.listdir(workspace):
        stage = os.path.join(workspace, name)
        if name.startswith(STAGE) and _is_folder(stage):
            undo(_read(os.path.join(stage, JOURNAL)))
            shutil.rmtree(stage, ignore_errors=True)


def undo(steps: Sequence[Step]) -> None:
    """Take steps back, the last one first; one that was only about to be made is none."""
    for source, target in reversed(steps):
        if source is None:
            _remove_if_empty(target)
        elif os.path.lexists(target) and not os.path.lexists(source):
            os.rename(target, source)


class _Placing:
    """Writes down each step before it makes it."""

    def __init__(self, stage: str, workspace: str, journal: BinaryIO) -> None:
        self._stage = stage
        self._workspace = workspace
        self._journal = journal
        self.steps: list[Step] = []

    def place(self, path: str) -> int:
        """Move a declared path, if it was restored; count what was not moved."""
        source = os.path.join(self._stage, path)
        if not os.path.lexists(source):
            return 0
        above = self._make_folders(path.split("/")[:-1])
        return 1 if above is None else self._merge(source, os.path.join(self._workspace, path))

    def _make_folders(self, parts: list[str]) -> str | None:
        """The folder above a declared path; `None` if something else is in the way."""
        folder = self._workspace
        for part in parts:
            folder = os.path.join(folder, part)
            if not os.path.lexists(folder):
                self._note(None, folder)
                os.mkdir(folder, 0o755)
            elif not _is_folder(folder):
                return None
        return folder

    def _note(self, source: str | None, target: str) -> None:
        self._journal.write(dumps([source, target]).encode() + b"\n")
        self.steps.append((source, target))

    def _merge(self, source: str, target: str) -> int:
        if not os.path.lexists(target):
            self._note(source, target)
            os.rename(source, target)
            return 0
        if not (_is_folder(source) and _is_folder(target)):
            return 1
        names = os.listdir(source)
        return sum(self._merge(os.path.join(source, name), os.path.join(target, name)) for name in names)


def _read(journal: str) -> list[Step]:
    """The steps of a journal; none if there is none, or it is not one."""
    try:
        with open(journal, "rb") as file:
            # the last line may have been cut short: its step was not made
            lines = file.read().split(b"\n")[:-1]
        return [(source, target) for source, target in map(loads, lines)]
    except (OSError, ValueError, TypeError):
        return []


def _remove_if_empty(folder: str) -> None:
    try:
        os.rmdir(folder)
    except OSError:
        pass


def _is_folder(path: str) -> bool:
    return stat.S_ISDIR(os.lstat(path).st_mode)
