"""A pipe under a program's output."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING

import uvloop

from kedge_process.pipe import Pipe

if TYPE_CHECKING:
    from pathlib import Path


def test_a_pipe_closes_no_descriptor_that_has_become_anothers(tmp_path: Path) -> None:
    over, lost = threading.Event(), []

    def open_and_close() -> None:
        """Take each descriptor that comes free, as threads of a node do."""
        while not over.is_set():
            fd = os.open(tmp_path, os.O_RDONLY)
            try:
                os.fstat(fd)
                os.close(fd)
            except OSError as error:
                lost.append(error)

    async def read_many() -> None:
        for number in range(2000):
            pipe = Pipe(tmp_path / str(number))
            with open(pipe.path, "wb") as program:  # noqa: ASYNC230, PTH123  (it does not block)
                program.write(b"said")
            reading = pipe.read()
            assert await anext(reading) == b"said"
            pipe.end()
            assert [data async for data in reading] == []

    threads = [threading.Thread(target=open_and_close) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        uvloop.run(asyncio.wait_for(read_many(), 60))
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert lost == []
