"""One request, as it was parsed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kedge.http.connection import Connection
    from kedge.http.shape import Shape

Header = tuple[bytes, bytes]


class Request:
    """What is asked, and how it is framed: nothing else of what came in is ever passed on.

    Names of headers are lower case. `check` has found it in order before anybody else sees it.
    """

    __slots__ = (
        "_headers",
        "_state",
        "chunked",
        "connection",
        "early",
        "expects",
        "host",
        "keep_alive",
        "length",
        "method",
        "old",
        "shape",
        "target",
        "values",
        "version",
        "whole",
    )

    def __init__(
        self,
        connection: Connection,
        method: bytes,
        target: bytes,
        shape: Shape,
        values: list[bytes],
    ) -> None:
        """Not checked yet. `shape` are the names of its headers, `values` what stands behind each."""
        self.connection = connection
        self.method = method
        self.target = target
        self.shape = shape
        self.values = values
        self.version = "1.1"
        #: whether it is of HTTP/1.0, which knows no chunks
        self.old = False
        #: whether another request may follow on the connection
        self.keep_alive = True
        self.host = b""
        #: bytes of the body, if that is known before
        self.length = 0
        self.chunked = False
        #: whether the visitor waits for 100 Continue
        self.expects = False
        #: whether its body has come to its end
        self.whole = True
        #: parts of the body that came before its turn to be answered
        self.early: list[bytes] | None = None
        self._headers: list[Header] | None = None
        self._state: dict[str, Any] | None = None

    @property
    def headers(self) -> list[Header]:
        """Names and values."""
        if self._headers is None:
            self._headers = list(zip(self.shape.names, self.values, strict=True))
        return self._headers

    @property
    def state(self) -> dict[str, Any]:
        """What those who look at it leave for each other."""
        if self._state is None:
            self._state = {}
        return self._state

    @property
    def has_body(self) -> bool:
        """Whether anything follows the head."""
        return self.chunked or self.length > 0
