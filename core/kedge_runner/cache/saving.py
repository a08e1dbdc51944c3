"""Saves one unit: look at the tree, ask whether it is new, pack it, send it, say that it is there."""

from __future__ import annotations

import os
import time

from kedge_runner.cache.compression import available
from kedge_runner.cache.pack import fingerprint
from kedge_runner.cache.restored import recall
from kedge_runner.cache.tree import Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from kedge_runner.cache.archive import Archive
    from kedge_runner.cache.kedge import Kedge
    from kedge_runner.cache.restored import Restored
    from kedge_runner.cache.tree import Entry
    from kedge_runner.cache.unit import Unit


def save(kedge: Kedge, unit: Unit, workspace: str) -> str:
    """Save a unit; return what to tell. Raises `CacheFailed`, `OSError` or `Refused`."""
    tree = Tree(workspace, unit)
    entries: Iterable[Entry] = tree.walk()
    wanted = {"name": unit.name, "key": unit.key, "version": unit.version(available())}
    if (restored := recall(workspace, unit)) is not None:
        entries = list(entries)
        if restored.suffices(tree, unit):
            return f"not saved, for nothing new was downloaded since it was saved as {unit.key}"
        if _is_kept(kedge, wanted, _guess(tree, entries, restored)):
            return f"not saved, for nothing has changed since it was saved as {unit.key}"
    return _pack_and_send(kedge, wanted, tree, entries)


def _pack_and_send(kedge: Kedge, wanted: dict[str, Any], tree: Tree, entries: Iterable[Entry]) -> str:
    from kedge_runner.cache.archive import Archive
    from kedge_runner.cache.outlet import Outlet

    began = time.monotonic()
    outlet = Outlet(kedge, wanted, os.fsdecode(tree.workspace))
    archive = Archive(outlet)
    try:
        found = archive.fill(tree.workspace, entries)
        if not tree.files:
            return "not saved, for there is nothing in its folders"
        if _is_kept(kedge, wanted, found):
            return f"not saved, for the same is kept as {wanted['key']}"
        outlet.store(_fact(archive, tree, found))
    finally:
        outlet.close()
    took = time.monotonic() - began
    left_out = f"; {tree.left_out} links that lead out, and the like, left out" if tree.left_out else ""
    return f"saved {archive.size} bytes ({tree.files} files) in {took:.1f} s as {wanted['key']}{left_out}"


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


def _fact(archive: Archive, tree: Tree, found: str) -> dict[str, Any]:
    return {
        "fingerprint": found,
        "size": archive.size,
        "sha256": archive.sha256.hexdigest(),
        "tree_bytes": tree.size,
        "file_count": tree.files,
    }
