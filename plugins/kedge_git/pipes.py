"""Pipes on the event loop, without transports: one read or write is one call of the kernel."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from kedge import wait_until_ready

if TYPE_CHECKING:
    from collections.abc import Iterable

_READ_SIZE = 1 << 16


def open_pipe(opened: list[int]) -> tuple[int, int]:
    """Make a pipe and note both ends in `opened`: the end to read, the end to write."""
    ends = os.pipe()
    opened.extend(ends)
    return ends


def close_all(fds: Iterable[int]) -> None:
    """Close them, whatever is wrong with one of them."""
    for fd in fds:
        with suppress(OSError):
            os.close(fd)


async def read(fd: int) -> bytes:
    """Wait for data in a non-blocking pipe; empty when its other end is closed."""
    while True:
        try:
            return os.read(fd, _READ_SIZE)
        except BlockingIOError:
            await wait_until_ready(fd)


async def write(fd: int, data: bytes) -> None:
    """Write all of `data` to a non-blocking pipe. Raises `BrokenPipeError` if nobody reads it any more."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(fd, rest) :]
        except BlockingIOError:
            await wait_until_ready(fd, writing=True)
