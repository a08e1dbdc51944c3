"""Speaks to Kedge: JSON envelopes over one connection, and patience while Kedge is away."""

from __future__ import annotations

import os
import time

from kedge_runner.connection import Connection, Endpoint
from kedge_runner.errors import Refused
from kedge_runner.jsontext import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 5.0
#: after so many seconds without Kedge the attempt is given up
PATIENCE = 15 * 60.0
RETRIED = frozenset({429, 500, 502, 503, 504})
JSON, BYTES = "application/json", "application/octet-stream"


class Client:
    """Talks to one endpoint. Not to be shared by threads: each has its own."""

    def __init__(self, endpoint: str, token: str, prefix: str = "", *, patience: float = PATIENCE) -> None:
        """`endpoint` is `http://host:port`, `https://…` or `unix:/path`; `prefix` begins every path."""
        where = Endpoint(endpoint)
        if not token.isascii() or not token.isprintable():
            raise ValueError("a token is printable ASCII")
        self._connection = Connection(where)
        self._prefix = where.path + prefix
        self._headers = f"Host: {where.host}\r\nAuthorization: Bearer {token}\r\n"
        self._patience = patience

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Send JSON, retry while Kedge is away, return the envelope's result. Raises `Refused`."""
        data = b"" if body is None else dumps(body).encode()
        return self.send(method, path, data, JSON)

    def send(self, method: str, path: str, data: bytes, content_type: str = BYTES) -> Any:
        """Send bytes, retry while Kedge is away, return the envelope's result. Raises `Refused`."""
        return self.stream(method, path, (data,), len(data), content_type)

    def stream(
        self, method: str, path: str, body: Iterable[bytes], size: int, content_type: str = BYTES
    ) -> Any:
        """As `send`, with a body in parts, `size` bytes in all, that can be iterated again to retry."""
        head = (
            f"{method} {self._prefix}{path} HTTP/1.1\r\n{self._headers}"
            f"Content-Type: {content_type}\r\nContent-Length: {size}\r\n\r\n"
        ).encode()
        pause, gives_up = FIRST_PAUSE, time.monotonic() + self._patience
        while True:
            was_open = self._connection.is_open
            try:
                status, answer = self._connection.exchange(head, body, size)
            except OSError as error:
                if time.monotonic() > gives_up:
                    raise Refused(0, 0, f"Kedge cannot be reached: {error}") from error
                if was_open:
                    continue  # only an idle connection was closed; a fresh one tells more
            else:
                if status not in RETRIED or time.monotonic() > gives_up:
                    return _result(status, answer)
            time.sleep(pause * (0.5 + os.urandom(1)[0] / 512))
            pause = min(pause * 2, LONGEST_PAUSE)

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()


def _result(status: int, answer: bytes) -> Any:
    try:
        envelope = loads(answer)
        if status < 400 and envelope["success"]:
            return envelope["result"]
        error = (envelope.get("errors") or [{}])[0]
        code, message = error.get("code", 0), error.get("message")
        result = envelope.get("result")
    except (ValueError, LookupError, TypeError, AttributeError):
        code, message, result = 0, None, None
    raise Refused(status, code, message or f"Kedge answered {status}", result)
