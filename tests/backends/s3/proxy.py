"""Stands between a store and its client and spoils what passes."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Asked = tuple[str, str, int]


class Spoiler:
    """Does one kind of harm to all that passes, until it is told to stop."""

    def __init__(self, target: str, harm: str, *, certificate: Path | None = None) -> None:
        """With a certificate (of localhost, with its key) it speaks TLS to whoever comes."""
        self.harm = harm
        #: what a path must hold to be harmed
        self.only = ""
        self.target = str(urlsplit(target).netloc)
        self.seen: set[str] = set()
        #: method, path and bytes of the body of what was asked by others than boto3
        self.strangers: list[Asked] = []
        #: the same of what boto3 has asked for
        self.own: list[Asked] = []
        #: paths of what a store that looks first has
        self.stored: set[str] = set()
        #: who waits here goes on with another one
        self.others = threading.Barrier(2)
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.spoiler = self
        self._has_tls = certificate is not None
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            # hands are shaken in the thread of each connection
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    @property
    def endpoint(self) -> str:
        scheme = "https://localhost" if self._has_tls else "http://127.0.0.1"
        return f"{scheme}:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    spoiler: Spoiler

    def handle_error(self, request: object, client_address: object) -> None:
        """Whoever hangs up does so on purpose."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def spoiler(self) -> Spoiler:
        assert isinstance(self.server, _Server)
        return self.server.spoiler

    def _pass(self) -> None:
        harm = self.spoiler.harm if self.spoiler.only in self.path else ""
        if harm == "away":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        asked = (self.command, self.path.partition("?")[0], len(body))
        is_own = "Boto" in (self.headers.get("User-Agent") or "")
        (self.spoiler.own if is_own else self.spoiler.strangers).append(asked)
        if harm in STATUSES and (status := STATUSES[harm](self, asked[1])):
            self._answer(status, [], REASONS.get(harm, b""), "")
            return
        is_object = "+trial" not in self.path and "%2Btrial" not in self.path and "?list" not in self.path
        if harm == "flip what is sent" and self.command == "PUT" and is_object:
            body = _flip(body)
        store = HTTPConnection(self.spoiler.target)
        headers = {name: value for name, value in self.headers.items() if name.lower() != "expect"}
        store.request(self.command, self.path, body, headers)
        answer = store.getresponse()
        data = answer.read()
        self._answer(answer.status, answer.getheaders(), data, harm if is_object else "")
        store.close()

    def _answer(self, status: int, headers: list[tuple[str, str]], data: bytes, harm: str) -> None:
        is_get = self.command == "GET" and status in {200, 206}
        if harm == "flip" and is_get:
            data = _flip(data)
        cut = is_get and (harm == "break off" or (harm == "break off once" and self.is_first()))
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in {"connection", "transfer-encoding", "content-length"}:
                self.send_header(name, value)
        length = {name.lower(): value for name, value in headers}.get("content-length", "0")
        self.send_header("Content-Length", length if self.command == "HEAD" else str(len(data)))
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(data[: len(data) // 2] if cut else data)
        if cut:
            self.close_connection = True

    def is_first(self) -> bool:
        key = f"{self.path} {self.headers.get('Range')}"
        is_first = key not in self.spoiler.seen
        self.spoiler.seen.add(key)
        return is_first

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass  # noqa: N815  (http.server's names)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing."""


def _strict(handler: _Handler, _: str) -> int | None:
    """As AWS and R2: takes no header of its own kind that was not signed, nor conditions of copies."""
    signed = parse_qs(urlsplit(handler.path).query).get("X-Amz-SignedHeaders", [""])[0].split(";")
    copying = {name.lower() for name in handler.headers if name.lower().startswith("x-amz-copy")}
    if not copying or signed == [""]:
        return None
    return 501 if copying <= set(signed) else 403


def _look_first(handler: _Handler, path: str) -> int | None:
    """As Swift: looks whether there is anything, and writes later, when others have looked too."""
    spoiler = handler.spoiler
    if handler.command == "DELETE":
        spoiler.stored.discard(path)
    if handler.command != "PUT":
        return None
    is_there, conditional = path in spoiler.stored, handler.headers.get("If-None-Match")
    if conditional is not None:
        if is_there:
            return 412
        del handler.headers["If-None-Match"]
        with suppress(threading.BrokenBarrierError):
            spoiler.others.wait(timeout=10)
    spoiler.stored.add(path)
    return None


def _busy_once(handler: _Handler, _: str) -> int | None:
    """Answers others than boto3 with 503 at first."""
    is_own = "Boto" in (handler.headers.get("User-Agent") or "")
    return 503 if not is_own and handler.is_first() else None


def _unknown_key(_: _Handler, __: str) -> int:
    """As a store whose access key was taken away."""
    return 403


#: why, where a status alone does not tell
REASONS = {"unknown key": b"<Error><Code>InvalidAccessKeyId</Code></Error>"}
STATUSES: dict[str, Callable[[_Handler, str], int | None]] = {
    "strict": _strict,
    "look first": _look_first,
    "busy once": _busy_once,
    "unknown key": _unknown_key,
}


def _flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :] if data else data
