"""One request, as it was parsed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kedge.http.connection import Connection

Header = tuple[bytes, bytes]


class Request:
    """What is asked, and how it is framed: nothing else of what came in is ever passed on.

    Names of headers are lower case. `check` has found it in order before anybody else sees it.
    """

    __slots__ = (
        "chunked",
        "connection",
        "early",
        "expects",
        "headers",
        "host",
        "keep_alive",
        "length",
        "method",
        "old",
        "state",
        "target",
        "version",
        "whole",
    )

    def __init__(
        self, connection: Connection, method: bytes, target: bytes, headers: list[Header], version: str
    ) -> None:
        """Not checked yet."""
        self.connection = connection
        self.method = method
        self.target = target
        self.headers = headers
        self.version = version
        #: whether it is of HTTP/1.0, which knows no chunks
        self.old = version != "1.1"
        #: whether another request may follow on the connection
        self.keep_alive = not self.old
        self.host = b""
        #: bytes of the body, if that is known before
        self.length = 0
        self.chunked = False
        #: whether the visitor waits for 100 Continue
        self.expects = False
        #: whether its body has come to its end
        self.whole = True
        #: parts of the body that came before its turn to be answered
        self.early: list[bytes] = []
        #: what those who looked at it leave for each other
        self.state: dict[str, Any] = {}

    @property
    def has_body(self) -> bool:
        """Whether anything follows the head."""
        return self.chunked or self.length > 0
