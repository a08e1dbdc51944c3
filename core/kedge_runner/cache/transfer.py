"""Moves archives between this machine and where they are kept: by a presigned request, or through Kedge."""

from __future__ import annotations

import http.client
import re
import socket
import time

from kedge_runner.cache.errors import CacheFailed, NotNow
from kedge_runner.connection import Endpoint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any, BinaryIO, TypeVar

    T = TypeVar("T")

TIMEOUT = 60.0
#: who does not answer to a connection for so long is out of reach
CONNECT_TIMEOUT = 10.0
BLOCK_BYTES = 1024 * 1024
#: seconds before a transfer that broke off is tried again
PAUSES = (0.5, 2.0)
GONE = frozenset({404, 410})
CODE = re.compile(rb"<Code>([A-Za-z]{1,64})</Code>")
LARGEST_REASON = 16 * 1024


class Again(Exception):
    """The transfer broke off in a way that the next one may not."""


class Unreachable(Exception):
    """There is no connection from here to there."""


class Request:
    """Where to, and what belongs into the head. Not to be shown: the address may be a secret."""

    def __init__(self, endpoint: Endpoint, target: str, headers: Mapping[str, str]) -> None:
        """`target` is path and query."""
        self.endpoint = endpoint
        self.target = target
        self.headers = dict(headers)

    @classmethod
    def presigned(cls, answer: Mapping[str, Any]) -> Request:
        """As a store has signed it."""
        scheme, _, rest = str(answer["url"]).partition("://")
        host, slash, target = rest.partition("/")
        if "?" in host:
            host, _, query = host.partition("?")
            slash, target = "/", f"?{query}"
        return cls(Endpoint(f"{scheme}://{host}"), slash + target or "/", answer["headers"])


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        """Connect later."""
        super().__init__("localhost", timeout=CONNECT_TIMEOUT, blocksize=BLOCK_BYTES)
        self._path = path

    def connect(self) -> None:
        """Open the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def download(request: Request) -> Iterator[bytes]:
    """The bytes as they come.

    Raises `Unreachable`, `Again`, or `CacheFailed` if there is no use in trying again.
    """
    connection = connect(request.endpoint)
    try:
        response = exchange(connection, "GET", request, ())
        while data := response.read(BLOCK_BYTES):
            yield data
        if response.length:
            raise Again("the store closed the connection too early")
    except (OSError, http.client.HTTPException) as error:
        raise Again(words_of(error)) from error
    finally:
        connection.close()


def upload(file: BinaryIO, size: int, request: Request) -> None:
    """Send a file from its start. Raises as `download` does."""
    connection = connect(request.endpoint)
    request.headers = {
        name: value for name, value in request.headers.items() if name.lower() != "content-length"
    }
    request.headers["Content-Length"] = str(size)
    try:
        file.seek(0)
        exchange(connection, "PUT", request, iter(lambda: file.read(BLOCK_BYTES), b"")).read(BLOCK_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise Again(words_of(error)) from error
    finally:
        connection.close()


def persist(work: Callable[[], T]) -> T:
    """Do `work`, and again after a pause if it broke off. Raises `CacheFailed`, `Unreachable`."""
    for pause in (*PAUSES, None):
        try:
            return work()
        except Again as error:
            if pause is None:
                raise NotNow(f"the store cannot be reached: {error}") from error
            time.sleep(pause)
    raise AssertionError("unreachable")


def connect(endpoint: Endpoint) -> http.client.HTTPConnection:
    """Open a connection. Raises `Unreachable`."""
    connection = _connection(endpoint)
    try:
        connection.connect()
    except OSError as error:
        connection.close()
        raise Unreachable(words_of(error)) from error
    connection.sock.settimeout(TIMEOUT)
    return connection


def _connection(endpoint: Endpoint) -> http.client.HTTPConnection:
    if endpoint.scheme == "unix":
        return UnixConnection(endpoint.name)
    kind = http.client.HTTPSConnection if endpoint.scheme == "https" else http.client.HTTPConnection
    return kind(endpoint.name, endpoint.port, timeout=CONNECT_TIMEOUT, blocksize=BLOCK_BYTES)


def exchange(
    connection: http.client.HTTPConnection, method: str, request: Request, body: Iterable[bytes | memoryview]
) -> http.client.HTTPResponse:
    """Send a request, return the answer. Raises `Again`, `CacheFailed`, or what the connection raises."""
    names = {name.lower() for name in request.headers}
    connection.putrequest(method, request.target, skip_host="host" in names, skip_accept_encoding=True)
    for name, value in request.headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    try:
        for data in body:
            connection.send(data)
    except (BrokenPipeError, ConnectionResetError):
        pass  # a store that refuses a body answers before it has all of it
    response = connection.getresponse()
    if response.status in GONE:
        raise CacheFailed("it is gone from the store")
    if response.status >= 500 or response.status == 429:
        raise Again(f"the store answered {response.status}")
    if response.status >= 300:
        raise NotNow(f"the store refused it with status {response.status}{_code(response)}")
    return response


def _code(response: http.client.HTTPResponse) -> str:
    """Why, by the word that S3 has for it; nothing else of such an answer is for a log."""
    found = CODE.search(response.read(LARGEST_REASON))
    return f" ({found[1].decode()})" if found else ""


def words_of(error: Exception) -> str:
    """Why a connection failed, in a few words."""
    if isinstance(error, OSError):
        return error.strerror or str(error) or type(error).__name__
    return "its answer broke off"
