"""What is to be stored, cut into parts that are brought into memory where they are sent."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from kedge import StoreUnavailable
from kedge_s3.settings import MIB, MOST_PARTS

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Callable
    from pathlib import Path

    #: makes the bytes of one part, in a thread
    Part = Callable[[], bytes]


def part_size_for(size: int, wanted: int) -> int:
    """The wanted size of a part, or the least that keeps a blob of `size` within the allowed parts."""
    least = -(-size // MOST_PARTS)
    return max(wanted, -(-least // MIB) * MIB)


async def cut_whole(data: bytes | Path, size: int, part_size: int) -> AsyncGenerator[Part]:
    """The parts of what is there already."""
    for start in range(0, size, part_size):
        end = min(start + part_size, size)
        if isinstance(data, bytes):
            yield partial(_slice, data, start, end)
        else:
            yield partial(_read, data, start, end)


async def cut_stream(data: AsyncIterable[bytes], part_size: int) -> AsyncGenerator[Part]:
    """The parts of what is still coming; as much as one part is held back here."""
    held: list[memoryview] = []
    room = part_size
    async for chunk in data:
        view = memoryview(chunk)
        while len(view) >= room:
            yield partial(b"".join, [*held, view[:room]])
            view = view[room:]
            held, room = [], part_size
        if view:
            held.append(view)
            room -= len(view)
    if held:
        yield partial(b"".join, held)


def _slice(data: bytes, start: int, end: int) -> bytes:
    return data[start:end]


def _read(path: Path, start: int, end: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        data = file.read(end - start)
    if len(data) != end - start:
        raise StoreUnavailable(f"{path.name} was cut short while it was being stored")
    return data
