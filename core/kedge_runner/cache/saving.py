"""Saves one unit: look at the tree, ask whether it is new, pack it, send it, say that it is there."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
import time
from functools import partial

from kedge_runner.cache.compression import available, compress
from kedge_runner.cache.contents import fingerprint
from kedge_runner.cache.pack import Packer
from kedge_runner.cache.restored import recall
from kedge_runner.cache.transfer import upload
from kedge_runner.cache.tree import Tree
from kedge_runner.cache.way import Way
from kedge_runner.pipes import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, BinaryIO

    from kedge_runner.cache.kedge import Kedge
    from kedge_runner.cache.restored import Restored
    from kedge_runner.cache.tree import Entry
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

    def fill(self, workspace: bytes, entries: Iterable[Entry]) -> str:
        """Pack and compress; return the fingerprint of what was packed. Raises `OSError` or `CacheFailed`."""
        found = ""
        with compress() as process:
            reader = threading.Thread(target=self._take, args=(process.output,), daemon=True)
            reader.start()
            try:
                found = Packer(process.input).write(workspace, entries)
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
        return found

    def _take(self, source: int) -> None:
        try:
            while data := os.read(source, READ_BYTES):
                self.sha256.update(data)
                self.md5.update(data)
                self.size += len(data)
                write_all(self.file.fileno(), data)
        except Exception as error:  # noqa: BLE001  (raised in the thread that waits for this one)
            self._error = error
            while os.read(source, READ_BYTES):
                pass


def save(kedge: Kedge, unit: Unit, workspace: str) -> str:
    """Save a unit; return what to tell. Raises `CacheFailed`, `OSError` or `Refused`."""
    began = time.monotonic()
    tree = Tree(workspace, unit)
    entries: Iterable[Entry] = tree.walk()
    wanted = {"name": unit.name, "key": unit.key, "version": unit.version(available())}
    if (restored := recall(workspace, unit)) is not None:
        entries = list(entries)
        if restored.suffices(tree, unit):
            return f"not saved, for nothing new was downloaded since it was saved as {unit.key}"
        if _is_kept(kedge, wanted, _guess(tree, entries, restored)):
            return f"not saved, for nothing has changed since it was saved as {unit.key}"
    archive = Archive(workspace)
    with archive.file:
        found = archive.fill(tree.workspace, entries)
        if not tree.files:
            return "not saved, for there is nothing in its folders"
        if _is_kept(kedge, wanted, found):
            return f"not saved, for the same is kept as {unit.key}"
        _send(kedge, archive, wanted | {"fingerprint": found}, tree)
    took = time.monotonic() - began
    left_out = f"; {tree.left_out} links that lead out, and the like, left out" if tree.left_out else ""
    return f"saved {archive.size} bytes ({tree.files} files) in {took:.1f} s as {unit.key}{left_out}"


def _guess(tree: Tree, entries: Iterable[Entry], restored: Restored) -> str | None:
    """The fingerprint, if it is what was restored or may well be."""
    if restored.untouched(tree):
        return restored.fingerprint
    return fingerprint(tree.workspace, entries) if restored.alike(tree) else None


def _is_kept(kedge: Kedge, wanted: dict[str, Any], found: str | None) -> bool:
    if found is None:
        return False
    known: bool = kedge.call("POST", "/caches/known", wanted | {"fingerprint": found})["known"]
    return known


def _send(kedge: Kedge, archive: Archive, fact: dict[str, Any], tree: Tree) -> None:
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
