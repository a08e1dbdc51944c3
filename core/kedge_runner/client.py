"""A small HTTP/1.1 client over TCP, TLS or a Unix socket, with one kept-alive connection."""

from __future__ import annotations

import json
import random
import socket
import time

from kedge_runner.errors import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, BinaryIO

TIMEOUT = 30.0
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 5.0
#: after so long without Kedge the attempt is given up
PATIENCE = 15 * 60.0
LARGEST_ANSWER = 64 * 1024 * 1024
RETRIED = frozenset({429, 500, 502, 503, 504})


class Client:
    """Talks to one endpoint. Not to be shared by threads: each has its own."""

    def __init__(
        self,
        endpoint: str,
        token: str,
        prefix: str = "",
        gives_up: Callable[[], bool] = lambda: False,
    ) -> None:
        """`endpoint` is `http://host:port`, `https://…` or `unix:/path`; `prefix` begins every path.

        Once `gives_up` says so, a call is not retried any more.
        """
        self._token = token
        self._gives_up = gives_up
        self._prefix = prefix
        self._sock: socket.socket | None = None
        self._file: BinaryIO | None = None
        self._address: Any
        self._scheme, _, rest = endpoint.partition(":")
        if self._scheme == "unix":
            self._address, self._host = rest, "localhost"
            return
        self._host, slash, path = rest.removeprefix("//").partition("/")
        self._prefix = (slash + path).rstrip("/") + prefix
        name, colon, port = self._host.rpartition(":")
        if not colon or self._host.endswith("]"):
            name, port = self._host, "443" if self._scheme == "https" else "80"
        self._address = (name.strip("[]"), int(port))

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Send JSON, retry while Kedge is away, return the envelope's result. Raises `Refused`."""
        data = b"" if body is None else json.dumps(body).encode()
        return self.send(method, path, data, "application/json")

    def send(self, method: str, path: str, data: bytes | memoryview, content_type: str) -> Any:
        """Send bytes, retry while Kedge is away, return the envelope's result. Raises `Refused`."""
        pause, deadline = FIRST_PAUSE, time.monotonic() + PATIENCE
        while True:
            try:
                status, answer = self._exchange(method, path, data, content_type)
            except (OSError, ValueError) as error:
                self.close()
                if self._gives_up() or time.monotonic() > deadline:
                    raise Refused(0, 0, f"Kedge cannot be reached: {error}") from error
            else:
                if status not in RETRIED or self._gives_up() or time.monotonic() > deadline:
                    return _result(status, answer)
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, LONGEST_PAUSE)

    def close(self) -> None:
        """Let go of the connection."""
        if self._file is not None:
            self._file.close()
        if self._sock is not None:
            self._sock.close()
        self._sock = self._file = None

    def _exchange(
        self, method: str, path: str, data: bytes | memoryview, content_type: str
    ) -> tuple[int, bytes]:
        sock, file = self._connection()
        head = (
            f"{method} {self._prefix}{path} HTTP/1.1\r\nHost: {self._host}\r\n"
            f"Authorization: Bearer {self._token}\r\nContent-Type: {content_type}\r\n"
            f"Content-Length: {len(data)}\r\n\r\n"
        ).encode()
        if len(data) < 16384:
            sock.sendall(head + bytes(data))
        else:
            sock.sendall(head)
            sock.sendall(data)
        return self._answer(file)

    def _connection(self) -> tuple[socket.socket, BinaryIO]:
        if self._sock is not None and self._file is not None:
            return self._sock, self._file
        if self._scheme == "unix":
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            sock.settimeout(TIMEOUT)
            sock.connect(self._address)
        else:
            sock = socket.create_connection(self._address, TIMEOUT)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._scheme == "https":
                sock = _wrap_tls(sock, self._address[0])
        self._sock, self._file = sock, sock.makefile("rb")
        return self._sock, self._file

    def _answer(self, file: BinaryIO) -> tuple[int, bytes]:
        line = file.readline(65536)
        if not line.startswith(b"HTTP/1."):
            raise ConnectionError("the connection was closed")
        status = int(line.split(None, 2)[1])
        headers = {}
        while (line := file.readline(65536)) not in {b"\r\n", b"\n", b""}:
            name, _, value = line.partition(b":")
            headers[name.strip().lower()] = value.strip()
        body = self._body(file, headers)
        if headers.get(b"connection", b"").lower() == b"close":
            self.close()
        return status, body

    def _body(self, file: BinaryIO, headers: dict[bytes, bytes]) -> bytes:
        if headers.get(b"transfer-encoding", b"").lower() == b"chunked":
            parts = []
            while size := int(file.readline(65536).partition(b";")[0], 16):
                parts.append(_exactly(file, size))
                file.readline(8)
            file.readline(8)
            return b"".join(parts)
        return _exactly(file, int(headers.get(b"content-length", b"0")))


def _exactly(file: BinaryIO, size: int) -> bytes:
    if size > LARGEST_ANSWER:
        raise ConnectionError("the answer is too large")
    data = file.read(size)
    if len(data) != size:
        raise ConnectionError("the answer was cut off")
    return data


def _wrap_tls(sock: socket.socket, name: str) -> socket.socket:
    import ssl

    return ssl.create_default_context().wrap_socket(sock, server_hostname=name)


def _result(status: int, answer: bytes) -> Any:
    try:
        envelope = json.loads(answer)
    except ValueError:
        raise Refused(status, 0, f"Kedge answered {status}") from None
    if status < 400 and envelope.get("success"):
        return envelope.get("result")
    errors = envelope.get("errors") or [{"code": 0, "message": f"Kedge answered {status}"}]
    raise Refused(status, errors[0]["code"], errors[0]["message"], envelope.get("result"))
