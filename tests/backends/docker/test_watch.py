"""Hearing of what ends, whatever an engine says."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from kedge_docker.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Iterator


class Odd:
    """An engine that answers the first question with what nobody understands."""

    def __init__(self) -> None:
        self.asked = 0

    @property
    def engine(self) -> Any:
        return self

    @property
    def filter(self) -> dict[str, list[str]]:
        return {}

    async def call(self, *_: Any, **__: Any) -> Iterator[dict[str, Any]]:
        self.asked += 1
        if self.asked == 1:
            raise ValueError("Expecting value: line 1 column 1")
        return ({"id": name} for name in ("first",))


async def test_an_answer_that_nobody_understands_ends_no_watch() -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    watch = Watch(Odd(), ended=heard.put_nowait, look=lambda: asyncio.sleep(0))

    watch.open()

    async with asyncio.timeout(30):
        assert await heard.get() == "first"
    await watch.close()
