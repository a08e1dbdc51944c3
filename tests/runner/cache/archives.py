"""Archives as an attacker would make them."""

from __future__ import annotations

import io
import os
import tarfile
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from kedge_runner.cache.limits import Budget
from kedge_runner.cache.unpack import Unpacker

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

WITHIN = ("repo/out", "home/.npm")


def member(name: str, kind: bytes = tarfile.REGTYPE, *, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, mode
    return info


def archive(members: Iterable[tuple[tarfile.TarInfo, bytes]], form: int = tarfile.GNU_FORMAT) -> bytes:
    """What `tarfile` makes of the members."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=form) as tar:
        for info, content in members:
            if info.isreg():
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return target.getvalue()


def unpack(data: bytes, folder: Path, *, within: Iterable[str] = WITHIN, size: int | None = None) -> int:
    """Unpack through a pipe, as a restore does; return the number of files."""
    return unpack_into(data, folder, within, size=size).files


def unpack_into(data: bytes, folder: Path, within: Iterable[str], *, size: int | None = None) -> Unpacker:
    """The same; return who did it."""
    source, target = os.pipe()

    def feed() -> None:
        with suppress(BrokenPipeError), os.fdopen(target, "wb") as pipe:
            pipe.write(data)

    thread = threading.Thread(target=feed)
    thread.start()
    unpacker = Unpacker(str(folder), list(within), Budget(len(data) if size is None else size))
    try:
        unpacker.run(source)
        return unpacker
    finally:
        unpacker.close()
        os.close(source)
        thread.join()
