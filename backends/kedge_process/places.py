"""Where attempts work: a folder each, with a note that lets a later node find its process again."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STDERR_BYTES = 2000


@dataclass(frozen=True, kw_only=True)
class Note:
    """What is written down of an attempt. No token is in it."""

    compute_id: str
    build_uuid: str
    attempt: int


class Place:
    """The folder of one attempt."""

    def __init__(self, folder: Path) -> None:
        """Nothing is made yet."""
        self.folder = folder
        self.workspace = folder / "work"
        self.exit_file = folder / "exit"
        self.stderr = folder / "stderr"
        self._note = folder / "attempt.json"

    @property
    def name(self) -> str:
        """Unique among attempts."""
        return self.folder.name

    def make(self) -> None:
        """Make it, empty and private."""
        self.remove()
        self.workspace.mkdir(parents=True)
        self.folder.chmod(0o700)

    def write(self, note: Note) -> None:
        """Write the note, whole or not at all."""
        part = self._note.with_suffix(".new")
        part.write_text(json.dumps(asdict(note)))
        part.replace(self._note)

    def read(self) -> Note | None:
        """The note, if one was written."""
        try:
            return Note(**json.loads(self._note.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def exit_code(self) -> int | None:
        """What the runner ended with, if it could say so."""
        try:
            return int(self.exit_file.read_text())
        except (OSError, ValueError):
            return None

    def last_words(self) -> str:
        """The end of what a runner wrote when it broke."""
        try:
            return self.stderr.read_bytes()[-STDERR_BYTES:].decode("utf-8", "replace").strip()
        except OSError:
            return ""

    def remove(self) -> None:
        """Remove it with all that builds leave behind, read-only folders too."""
        if self.folder.exists():
            shutil.rmtree(self.folder, onerror=_make_writable)


class Places:
    """All folders of attempts."""

    def __init__(self, root: Path) -> None:
        """Below `root`."""
        self.root = root

    def place(self, build_uuid: str, attempt: int) -> Place:
        """The folder of an attempt."""
        return Place(self.root / f"{build_uuid}-{attempt}")

    def noted(self) -> Iterator[tuple[Place, Note]]:
        """Every attempt that left a note; folders without one are of attempts that never began."""
        if not self.root.exists():
            return
        for folder in sorted(self.root.iterdir()):
            place = Place(folder)
            note = place.read()
            if note is not None:
                yield place, note


def _make_writable(_function: object, path: str, _error: object) -> None:
    try:
        os.chmod(os.path.dirname(path), 0o700)  # noqa: PTH101, PTH120  (paths come as text)
        if os.path.islink(path) or not os.path.isdir(path):  # noqa: PTH112, PTH114
            os.unlink(path)  # noqa: PTH108
        else:
            os.chmod(path, 0o700)  # noqa: PTH101
            shutil.rmtree(path, ignore_errors=True)
    except OSError:
        return
