"""The HTTP client against servers that answer in every way that HTTP allows, and some that it does not."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from kedge_runner.client import Client
from kedge_runner.connection import Endpoint
from kedge_runner.errors import Refused
from kedge_runner.jsontext import dumps, loads

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

GOOD = b'{"success":true,"errors":[],"messages":[],"result":7}'
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(GOOD) + GOOD


class Script:
    """Answers each request with the next of its answers; an empty one closes the connection instead."""

    def __init__(self, *answers: bytes, tls: ssl.SSLContext | None = None) -> None:
        self.answers = list(answers)
        self.requests: list[bytes] = []
        self.connections = 0
        self._tls = tls
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            try:
                if self._tls:
                    connection = self._tls.wrap_socket(connection, server_side=True)
                self._talk(connection)
            except OSError:
                pass
            finally:
                connection.close()

    def _talk(self, connection: socket.socket) -> None:
        connection.settimeout(5)
        with connection.makefile("rb") as file:
            while head := _head(file):
                size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                self.requests.append(head + b"\r\n" + file.read(size))
                answer = self.answers.pop(0)
                if not answer:
                    return
                for part in answer.split(b"|"):
                    connection.sendall(part)
                if b"connection: close" in answer.lower():
                    return


def _head(file: BinaryIO) -> bytes:
    """A request's head without its empty line; nothing at the end of the connection."""
    lines = []
    while (line := file.readline()) not in {b"", b"\r\n"}:
        lines.append(line)
    return b"".join(lines)


@pytest.fixture
def scripts() -> Iterator[list[Script]]:
    """Servers to close in the end."""
    made: list[Script] = []
    yield made
    for script in made:
        script.close()


def ask(scripts: list[Script], *answers: bytes, calls: int = 1) -> list[object]:
    scripts.append(Script(*answers))
    client = Client(f"http://127.0.0.1:{scripts[0].port}", "t", "/prefix", patience=2)
    try:
        return [client.call("POST", "/path", {"a": "é"}) for _ in range(calls)]
    finally:
        client.close()


def test_a_request_is_what_it_should_be(scripts: list[Script]) -> None:
    assert ask(scripts, PLAIN) == [7]
    head, _, body = scripts[0].requests[0].partition(b"\r\n\r\n")
    assert head.splitlines() == [
        b"POST /prefix/path HTTP/1.1",
        b"Host: 127.0.0.1:%d" % scripts[0].port,
        b"Authorization: Bearer t",
        b"Content-Type: application/json",
        b"Content-Length: 14",
    ]
    assert json.loads(body) == {"a": "é"}


def test_one_connection_serves_many_requests(scripts: list[Script]) -> None:
    assert ask(scripts, *[PLAIN] * 5, calls=5) == [7] * 5
    assert scripts[0].connections == 1


def test_a_connection_that_was_closed_meanwhile_is_opened_again(scripts: list[Script]) -> None:
    closing = PLAIN.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n")

    assert ask(scripts, PLAIN, b"", closing, PLAIN, calls=3) == [7] * 3
    assert scripts[0].connections == 3


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n" + PLAIN,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"5\r\n%b\r\n%x;x=y\r\n%b\r\n0\r\nTrailer: x\r\n\r\n" % (GOOD[:5], len(GOOD) - 5, GOOD[5:]),
        PLAIN.replace(b"Content-Length", b"content-length").replace(b"\r\n", b"|\r|\n"),
        PLAIN.replace(b" OK", b""),
    ],
)
def test_every_way_to_answer_is_understood(scripts: list[Script], answer: bytes) -> None:
    assert ask(scripts, answer, PLAIN, calls=2) == [7, 7]
    assert scripts[0].connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"nonsense\r\n\r\nConnection: close",
        b"HTTP/1.1 x\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 99999\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\nxx\r\n",
        b"HTTP/1.1 200 " + b"x" * 100_000 + b"\r\nConnection: close\r\n",
        b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 429 Slow\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_a_broken_answer_is_asked_for_again(scripts: list[Script], answer: bytes) -> None:
    assert ask(scripts, answer, PLAIN) == [7]


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (b'{"success":false,"errors":[{"code":12062,"message":"over"}],"result":{"a":1}}', 12062, "over"),
        (b'{"success":false,"errors":[]}', 0, "Kedge answered 409"),
        (b'{"errors":7}', 0, "Kedge answered 409"),
        (b"<html>", 0, "Kedge answered 409"),
        (b"[1]", 0, "Kedge answered 409"),
        (b"\xff", 0, "Kedge answered 409"),
    ],
)
def test_an_error_is_told_in_kedges_words(
    scripts: list[Script], body: bytes, code: int, message: str
) -> None:
    with pytest.raises(Refused, match=message) as caught:
        ask(scripts, b"HTTP/1.1 409 Conflict\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    assert (caught.value.status, caught.value.code) == (409, code)


def test_patience_has_an_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    with pytest.raises(Refused, match="cannot be reached") as caught:
        Client(f"http://127.0.0.1:{port}", "t", patience=0.2).call("GET", "/")

    assert caught.value.status == 0


def test_tls_is_spoken_and_certificates_are_checked(
    scripts: list[Script], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    scripts.append(Script(PLAIN, PLAIN, tls=context))
    url = f"https://127.0.0.1:{scripts[0].port}"

    with pytest.raises(Refused, match="certificate"):
        Client(url, "t", patience=0).call("GET", "/")
    assert not scripts[0].requests

    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    client = Client(url, "t")
    assert [client.call("GET", "/") for _ in range(2)] == [7, 7]
    client.close()


def make_certificate(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kedge")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.mark.parametrize(
    ("text", "where", "host", "path"),
    [
        ("http://a:8787", ("http", "a", 8787), "a:8787", ""),
        ("http://a/b/", ("http", "a", 80), "a", "/b"),
        ("https://a.example", ("https", "a.example", 443), "a.example", ""),
        ("http://[::1]:81/x", ("http", "::1", 81), "[::1]:81", "/x"),
        ("https://[::1]", ("https", "::1", 443), "[::1]", ""),
        ("unix:/run/k.sock", ("unix", "/run/k.sock", 80), "localhost", ""),
    ],
)
def test_endpoints_are_understood(text: str, where: tuple[str, str, int], host: str, path: str) -> None:
    endpoint = Endpoint(text)

    assert (endpoint.scheme, endpoint.name, endpoint.port) == where
    assert (endpoint.host, endpoint.path) == (host, path)


@pytest.mark.parametrize("text", ["", "ftp://x", "http://x\r\nEvil: 1", "localhost:8787", "http://x:port"])
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Client(text, "t")


def test_a_token_cannot_add_a_header() -> None:
    with pytest.raises(ValueError, match="token"):
        Client("http://x", "t\r\nEvil: 1")


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(values)
def test_json_is_what_the_standard_library_means_by_it(value: object) -> None:
    assert json.loads(dumps(value)) == value
    assert loads(json.dumps(value).encode()) == value
    assert loads(json.dumps(value, ensure_ascii=False, indent=1)) == value


@pytest.mark.parametrize("text", ["", "{", "1 2", "NaN", "nope", '{"a":}', "'a'"])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        loads(text)


def test_what_has_no_place_in_json_is_refused() -> None:
    with pytest.raises(TypeError, match="set"):
        dumps(set())
