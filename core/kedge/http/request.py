"""One request, as it was parsed."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kedge.http.connection import Connection

Header = tuple[bytes, bytes]


class Request:
    """What is asked, and how it is framed: nothing else of what came in is ever passed on.

    Names of headers are lower case. `check` has found it in order before anybody else sees it.
    """

    #: whether it is of HTTP/1.0, which knows no chunks
    old = False
    #: whether another request may follow on the connection
    keep_alive = True
    host = b""
    #: bytes of the body, if that is known before
    length = 0
    chunked = False
    #: whether the visitor waits for 100 Continue
    expects = False
    #: whether its body has come to its end
    whole = True
    #: parts of the body that came before its turn to be answered
    early: list[bytes] | None = None

    def __init__(
        self, connection: Connection, method: bytes, target: bytes, headers: list[Header], version: str
    ) -> None:
        """Not checked yet. What is usual stands in the class: one of these is made for every request."""
        self.connection = connection
        self.method = method
        self.target = target
        self.headers = headers
        self.version = version

    @cached_property
    def state(self) -> dict[str, Any]:
        """What those who look at it leave for each other."""
        return {}

    @property
    def has_body(self) -> bool:
        """Whether anything follows the head."""
        return self.chunked or self.length > 0
