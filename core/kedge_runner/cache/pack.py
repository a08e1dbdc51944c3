"""Writes a tree as one stream of tar."""

from __future__ import annotations

from contextlib import closing
from functools import partial

from kedge_runner.cache.beside import Beside
from kedge_runner.cache.contents import Contents
from kedge_runner.cache.tar import BLOCK, END, header, kind_of
from kedge_runner.pipes import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from kedge_runner.cache.tree import Entry


def pack_tree(workspace: bytes, entries: Iterable[Entry], output: int) -> str:
    """Write everything to `output`, which stays the caller's; return its fingerprint.

    Raises `OSError`, or `CacheFailed` if something changes meanwhile.
    """
    with closing(Beside(partial(write_all, output))) as pipe, Contents(workspace) as contents:
        for entry in entries:
            kind, mode = kind_of(entry.mode), entry.mode
            pipe.add(header(kind, entry.name, mode=mode, size=entry.size, mtime=entry.mtime, link=entry.link))
            for data in contents.read(entry):
                pipe.add(data)
            if padding := -entry.size % BLOCK:
                pipe.add(bytes(padding))
        pipe.add(END)
        pipe.finish()
        return contents.fingerprint()
