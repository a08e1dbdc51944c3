"""A small answer, kept from the visitor until it is whole: while nothing was said, another may be asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kedge.workers.relay.headers import find

if TYPE_CHECKING:
    from starlette.types import Message, Send

#: bytes of an answer's body that are kept back
MOST_HELD = 64 * 1024


class Held:
    """An ASGI `send`. What is longer, or of unknown length, goes out as it comes."""

    def __init__(self, send: Send) -> None:
        """Nothing has come."""
        self._send = send
        self._holds = False
        self._messages: list[Message] = []
        #: whether the visitor was told anything
        self.begun = False

    async def __call__(self, message: Message) -> None:
        """A part of the answer."""
        if message["type"] == "http.response.start":
            length = find(message["headers"], b"content-length") or b""
            self._holds = length.isdigit() and int(length) <= MOST_HELD
        if self._holds:
            self._messages.append(message)
            if message["type"] == "http.response.start" or message.get("more_body"):
                return
            messages, self._messages, self._holds = self._messages, [], False
        else:
            messages = [message]
        self.begun = True
        for one in messages:
            await self._send(one)
