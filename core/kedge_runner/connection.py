"""One kept-alive HTTP/1.1 connection over TCP, TLS or a Unix socket."""

from __future__ import annotations

# `socket` makes enumerations of all its constants when it is imported: four milliseconds of every build.
import _socket
import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

TIMEOUT = 30.0
LONGEST_LINE = 65536
LARGEST_ANSWER = 64 * 1024 * 1024
#: a body up to this size goes out together with its head
SMALL = 64 * 1024


class Endpoint:
    """Where Kedge listens: `http://host:port`, `https://…` (both with a path, if need be) or `unix:/path`."""

    def __init__(self, text: str) -> None:
        """Take it apart. Raises `ValueError`."""
        if any(character <= " " for character in text):
            raise ValueError("an endpoint holds no blanks")
        self.scheme, _, rest = text.partition(":")
        if self.scheme not in {"http", "https", "unix"}:
            raise ValueError(f"{text!r} is no endpoint; write http://host:port, https://host or unix:/path")
        self.host, slash, path = ("localhost", "", "") if self.scheme == "unix" else _split(rest)
        self.path = (slash + path).rstrip("/")
        name, colon, port = self.host.rpartition(":")
        if not colon or self.host.endswith("]"):
            name, port = self.host, "443" if self.scheme == "https" else "80"
        self.name = rest if self.scheme == "unix" else name.strip("[]")
        self.port = int(port)


def _split(rest: str) -> tuple[str, str, str]:
    return rest.removeprefix("//").partition("/")


class Connection:
    """Opened when it is first used, and again after every failure. Belongs to one thread."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Connect to nothing yet."""
        self._endpoint = endpoint
        self._sock: _socket.socket | None = None
        self._received = b""

    @property
    def is_open(self) -> bool:
        """Whether there is a connection that the other side has not closed, as far as can be seen."""
        if self._sock is None:
            return False
        poll = select.poll()
        poll.register(self._sock.fileno(), select.POLLIN)
        if poll.poll(0):
            # nothing was asked: what comes now is the end of the connection
            self.close()
        return self._sock is not None

    def exchange(self, head: bytes, body: Iterable[bytes], size: int) -> tuple[int, bytes]:
        """Send a request, return status and body of the answer. Raises `OSError`; then it is closed."""
        try:
            sock = self._sock or self._connect()
            if size <= SMALL:
                sock.sendall(head + b"".join(body))
            else:
                sock.sendall(head)
                for part in body:
                    sock.sendall(part)
            return self._answer()
        except (ValueError, IndexError) as error:
            self.close()
            raise ConnectionError(f"the answer is not HTTP: {error}") from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the connection."""
        if self._sock is not None:
            self._sock.close()
        self._sock, self._received = None, b""

    def _connect(self) -> _socket.socket:
        endpoint = self._endpoint
        if endpoint.scheme == "unix":
            sock = _open(_socket.AF_UNIX, endpoint.name)
        elif endpoint.scheme == "https":
            sock = _connect_tls(endpoint)
        else:
            sock = _connect_tcp(endpoint)
        self._sock = sock
        return sock

    def _answer(self) -> tuple[int, bytes]:
        status, headers = 0, dict[bytes, bytes]()
        while status < 200:  # 1xx only announces the answer
            line = self._line()
            if not line.startswith(b"HTTP/1."):
                raise ConnectionError("the answer is not HTTP/1")
            status = int(line.split(None, 2)[1])
            headers.clear()
            while line := self._line():
                name, _, value = line.partition(b":")
                headers[name.strip().lower()] = value.strip().lower()
        return status, self._body(status, headers)

    def _body(self, status: int, headers: dict[bytes, bytes]) -> bytes:
        if headers.get(b"transfer-encoding") == b"chunked":
            body = b"".join(self._chunks())
        elif b"content-length" in headers:
            body = self._exactly(int(headers[b"content-length"]))
        elif status == 204:
            body = b""
        else:
            raise ConnectionError("the answer does not tell its length")
        if headers.get(b"connection") == b"close":
            self.close()
        return body

    def _chunks(self) -> Iterable[bytes]:
        total = 0
        while size := int(self._line().partition(b";")[0], 16):
            total += size
            yield self._exactly(size if total <= LARGEST_ANSWER else total)
            self._line()
        while self._line():
            pass

    def _line(self) -> bytes:
        while (end := self._received.find(b"\r\n")) < 0:
            if len(self._received) > LONGEST_LINE:
                raise ConnectionError("a line of the answer is too long")
            self._received += self._receive(LONGEST_LINE)
        line, self._received = self._received[:end], self._received[end + 2 :]
        return line

    def _exactly(self, size: int) -> bytes:
        if not 0 <= size <= LARGEST_ANSWER:
            raise ConnectionError("the answer is too large")
        parts, missing = [self._received[:size]], size - len(self._received)
        self._received = self._received[size:]
        while missing > 0:
            parts.append(self._receive(min(missing, 1 << 18)))
            missing -= len(parts[-1])
        return b"".join(parts)

    def _receive(self, most: int) -> bytes:
        data = self._sock.recv(most) if self._sock else b""
        if not data:
            raise ConnectionError("the connection was closed")
        return data


def _connect_tcp(endpoint: Endpoint) -> _socket.socket:
    refused: OSError | None = None
    for family, _, _, _, address in _socket.getaddrinfo(endpoint.name, endpoint.port, 0, _socket.SOCK_STREAM):
        try:
            sock = _open(family, address)
        except OSError as error:
            refused = error
        else:
            sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
            return sock
    raise refused or ConnectionError(f"{endpoint.name} has no address")


def _open(family: int, address: str | tuple[object, ...]) -> _socket.socket:
    sock = _socket.socket(family, _socket.SOCK_STREAM)
    try:
        sock.settimeout(TIMEOUT)
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


def _connect_tls(endpoint: Endpoint) -> _socket.socket:
    import socket
    import ssl

    sock = socket.create_connection((endpoint.name, endpoint.port), TIMEOUT)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return ssl.create_default_context().wrap_socket(sock, server_hostname=endpoint.name)
    except BaseException:
        sock.close()
        raise
