"""The files of a folder that is to be deployed."""

from __future__ import annotations

import hashlib
import os

from kedge_runner.errors import RunnerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

LEFT_OUT = frozenset({".git"})
OF_THE_MACHINE = frozenset({".venv", "__pycache__"})
READ_BYTES = 256 * 1024


class DeployFailed(RunnerError):
    """The folder cannot be deployed."""


class File:
    """One file: its name in the version, where it lies, what is in it."""

    def __init__(self, name: str, path: str) -> None:
        """Read it once. Raises `OSError`."""
        self.name = name
        self.path = path
        with open(path, "rb") as file:
            self.sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            self.size = file.tell()
            self.executable = bool(os.fstat(file.fileno()).st_mode & 0o100)

    def __iter__(self) -> Iterator[bytes]:
        """The content in parts, from the start each time. Raises `DeployFailed` if it has become shorter."""
        missing = self.size
        with self._open() as file:
            while missing:
                part = file.read(min(missing, READ_BYTES))
                if not part:
                    raise DeployFailed(f"{self.name} changed while it was uploaded; deploy again")
                missing -= len(part)
                yield part

    def _open(self) -> BinaryIO:
        try:
            return open(self.path, "rb")
        except OSError as error:
            raise DeployFailed(f"{self.name} cannot be read any more ({error.strerror})") from error


def find_files(folder: str, *, runs: bool = False) -> list[tuple[str, str]]:
    """Name in the version and path of every file, sorted by name.

    Links to files within the folder count as these files. Raises `DeployFailed` for a folder that is
    none, that is empty, or that holds a link out of it, a link to a folder, or a name that is no text.
    Of one that `runs`, what belongs to the machine that built it is left out.
    """
    if not os.path.isdir(folder):
        raise DeployFailed(f"there is no folder {folder}; check its name and what the build writes")
    root = os.path.realpath(folder)
    found = sorted(_walk(root, "", LEFT_OUT | OF_THE_MACHINE if runs else LEFT_OUT))
    if not found:
        raise DeployFailed(f"{folder} holds no files; check the folder's name and what the build writes")
    return found


def _walk(root: str, within: str, left_out: frozenset[str]) -> Iterator[tuple[str, str]]:
    with os.scandir(os.path.join(root, within)) as found:
        entries = list(found)
    for entry in entries:
        name = f"{within}/{entry.name}" if within else entry.name
        if entry.name in left_out:
            continue
        if not name.isprintable():
            raise DeployFailed(f"{name!r} is no name that a URL can have; rename it")
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(root, name, left_out)
        elif entry.is_symlink():
            yield name, _target(root, name)
        elif entry.is_file():
            yield name, entry.path
        else:
            raise DeployFailed(f"{name} is neither a file nor a folder; leave it out")


def _target(root: str, name: str) -> str:
    path = os.path.realpath(os.path.join(root, name))
    if not path.startswith(root + os.sep):
        raise DeployFailed(f"{name} is a link that leads out of the folder; put the file itself there")
    if set(os.path.relpath(path, root).split(os.sep)) & LEFT_OUT:
        raise DeployFailed(f"{name} is a link to what is never deployed; remove it")
    if not os.path.isfile(path):
        raise DeployFailed(f"{name} is a link to no file; put the files themselves there")
    return path
