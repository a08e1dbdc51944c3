"""Saves one unit: look at the tree, ask whether it is new, pack it, send it, say that it is there."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
import time
from functools import partial

from kedge_runner.cache.compression import available, compress
from kedge_runner.cache.pack import Packer
from kedge_runner.cache.transfer import upload
from kedge_runner.cache.tree import Tree
from kedge_runner.cache.way import Way

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO

    from kedge_runner.cache.kedge import Kedge
    from kedge_runner.cache.unit import Unit

READ_BYTES = 1024 * 1024


class Archive:
    """A tree in one file that vanishes when it is closed; the only copy on this disk."""

    def __init__(self, folder: str) -> None:
        """Make the file, empty."""
        # also where the file system knows no nameless files
        self.file: BinaryIO = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115
        self.size = 0
        self.sha256 = hashlib.sha256()
        self.md5 = hashlib.md5(usedforsecurity=False)
        self._error: Exception | None = None

    def fill(self, tree: Tree) -> None:
        """Pack and compress. Raises `OSError` or `CacheFailed`."""
        with compress() as process:
            reader = threading.Thread(target=self._take, args=(process.output,), daemon=True)
            reader.start()
            try:
                Packer(process.input).write(tree)
                process.end_input()
            except BrokenPipeError:
                process.end_input()  # why it broke is told by what the other side found
            except BaseException:
                process.kill()
                raise
            finally:
                reader.join()
            if self._error is not None:
                raise self._error
            process.finish()

    def _take(self, source: int) -> None:
        try:
            while data := os.read(source, READ_BYTES):
                self.sha256.update(data)
                self.md5.update(data)
                self.size += len(data)
                view = memoryview(data)
                while view:
                    view = view[self.file.write(view) :]
        except Exception as error:  # noqa: BLE001  (raised in the thread that waits for this one)
            self._error = error
            while os.read(source, READ_BYTES):
                pass


def save(kedge: Kedge, unit: Unit, workspace: str) -> str:
    """Save a unit; return what to tell. Raises `CacheFailed`, `OSError` or `Refused`."""
    began = time.monotonic()
    tree = Tree(workspace, unit)
    if not tree.files:
        return "not saved, for there is nothing in its folders"
    fact: dict[str, Any] = {
        "name": unit.name,
        "key": unit.key,
        "version": unit.version(available()),
        "fingerprint": tree.fingerprint(),
    }
    if kedge.call("POST", "/caches/known", fact)["known"]:
        return f"not saved, for nothing has changed since it was saved as {unit.key}"
    archive = Archive(workspace)
    with archive.file:
        archive.fill(tree)
        fact |= {
            "size": archive.size,
            "sha256": archive.sha256.hexdigest(),
            "md5": archive.md5.hexdigest(),
            "tree_bytes": tree.size,
            "file_count": tree.files,
        }
        answer = kedge.call("POST", "/caches", fact)
        path = f"/caches/{answer['id']}"
        Way(kedge, answer["put"], path).travel(partial(upload, archive.file, archive.size))
    kedge.call("POST", f"{path}/complete")
    took = time.monotonic() - began
    left_out = f"; {tree.left_out} links that lead out, and the like, left out" if tree.left_out else ""
    return f"saved {archive.size} bytes ({tree.files} files) in {took:.1f} s as {unit.key}{left_out}"
