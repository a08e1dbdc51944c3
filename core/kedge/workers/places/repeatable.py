"""What a visitor sends, kept for a second try as long as it is little."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Message, Receive

#: bytes of a request's body that are kept
MOST_KEPT = 64 * 1024


class Repeatable:
    """An ASGI `receive` that can begin again. One task at a time."""

    def __init__(self, receive: Receive) -> None:
        """Nothing was sent yet."""
        self._receive = receive
        self._kept: list[Message] = []
        self._size = 0
        self._next = 0
        #: false once more was sent than is kept
        self.whole = True

    async def __call__(self) -> Message:
        """The next part of what the visitor sends."""
        if self._next < len(self._kept):
            self._next += 1
            return self._kept[self._next - 1]
        message = await self._receive()
        self._size += len(message.get("body", b""))
        if self._size > MOST_KEPT:
            self.whole = False
            self._kept.clear()
        if self.whole:
            self._kept.append(message)
        self._next = len(self._kept)
        return message

    def again(self) -> None:
        """Begin again, which must be possible: everything was kept."""
        self._next = 0
