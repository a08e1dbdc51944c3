"""What answers a request."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from kedge.http.date import http_date

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kedge.http.request import Header

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
#: answers that have no body, whatever their heads say
BODILESS = frozenset({204, 304})


class Answering(Protocol):
    """Answers one request on its connection, and calls `Connection.finished` when the answer is whole.

    Everything is called on the event loop, and nothing after `left`.
    """

    @property
    def begun(self) -> bool:
        """Whether any of the answer was sent."""
        ...

    def body(self, data: bytes) -> None:
        """A part of the request's body has come."""
        ...

    def body_ended(self) -> None:
        """The request is whole."""
        ...

    def left(self) -> None:
        """The visitor has gone, or cannot be understood any more: stop."""
        ...

    def expired(self) -> None:
        """The deadline that was set for its connection is over."""
        ...

    def pause(self) -> None:
        """The visitor is slow to read."""
        ...

    def resume(self) -> None:
        """He has caught up."""
        ...


def _status_line(status: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode()


STATUS_LINES = {status: _status_line(status) for status in range(100, 1000)}


_line = b": ".join


def lines(headers: Sequence[Header]) -> bytes:
    """Headers as they stand in a head, each with its end."""
    return b"\r\n".join(map(_line, headers)) + b"\r\n" if headers else b""


def whole_answer(
    status: int, headers: Sequence[Header], body: bytes, *, close: bool, bodiless: bool = False
) -> bytes:
    """An answer with a `content-length` among its headers; `bodiless` for one to HEAD."""
    ending = b"connection: close\r\n\r\n" if close else b"\r\n"
    head = b"%bdate: %b\r\n%b%b" % (STATUS_LINES[status], http_date(), lines(headers), ending)
    return head if bodiless else head + body


def in_words(status: int, reason: str) -> bytes:
    """An answer that ends the connection and says why."""
    body = f"{reason[:1].upper()}{reason[1:]}.\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body))]
    return whole_answer(status, headers, body, close=True)
