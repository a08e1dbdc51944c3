"""Secrets as files, for images, whose own program cannot be told them in another way."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

#: kept in memory where that can be had
MEMORY = Path("/dev/shm")  # noqa: S108  (the folder within is this user's alone)


class SecretFiles:
    """A folder for each instance that has some. Every method blocks."""

    def __init__(self, root: Path) -> None:
        """Below `root`, a link to memory if there is such a place."""
        self._root = root

    def clear(self) -> None:
        """Forget all that an earlier node left."""
        if self._root.is_symlink():
            shutil.rmtree(self._root.readlink(), ignore_errors=True)
            self._root.unlink()
        shutil.rmtree(self._root, ignore_errors=True)

    def write(self, instance_id: str, secrets: Mapping[str, str]) -> Path:
        """The folder with a file for each secret. Raises `OSError`."""
        if not self._root.exists():
            self._make_root()
        folder = self._root.resolve() / instance_id
        folder.mkdir()
        # whatever user the image runs as has to read it; nobody else gets below the root
        folder.chmod(0o755)
        for name, text in secrets.items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o444)
        return folder

    def remove(self, instance_id: str) -> None:
        """The instance has ended. Safe twice."""
        if self._root.exists():
            shutil.rmtree(self._root.resolve() / instance_id, ignore_errors=True)

    def _make_root(self) -> None:
        if MEMORY.is_dir():
            self._root.symlink_to(tempfile.mkdtemp(prefix="kedge-secrets-", dir=MEMORY))
        else:
            self._root.mkdir(mode=0o700, parents=True)
