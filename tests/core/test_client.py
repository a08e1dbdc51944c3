"""A client of the API bears what may come between it and a node."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from kedge.client import ClientError, Server

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.mark.parametrize(
    "url",
    [
        "http://a\x07b",
        "http://[::1",
        "http://ex\u202eample",
        "http://a..b",
        "http://xn--",
        "localhost:80",
        "",
    ],
)
def test_what_is_no_url_is_called_so_at_once(url: str) -> None:
    server = Server(url=url, token="kdg_1", account="default")
    with pytest.raises(ClientError, match="is no URL"):
        server.get("/workers/workers")
    with pytest.raises(ClientError, match="is no URL"):
        next(server.events("/workers/workers/hello/logs"))


@pytest.mark.parametrize("token", ["t\xf6ken", "two\nlines"])
def test_what_is_no_token_is_called_so_and_not_shown(token: str) -> None:
    with pytest.raises(ClientError, match="the token is none") as raised:
        Server(url="http://127.0.0.1:1", token=token, account="default").get("/workers/workers")
    assert token not in str(raised.value)


class Stream(BaseHTTPRequestHandler):
    """A log of which nothing is said for a while."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(b'event: log\nid: 1.4\ndata: {"text": "one"}\n\n')
        self.wfile.write(b": still here\n\n: still here\n" * 2)
        self.wfile.write(b'event: log\nid: 1.8\ndata: {"text": "two"}\n\nevent: end\ndata: {}\n\n')

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (as the class calls it)
        """Say nothing."""


@pytest.fixture
def stream() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Stream) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_silence_is_no_event(stream: str) -> None:
    events = Server(url=stream, token="kdg_1", account="default").events("/logs")
    assert [(event.id, event.data) for event in events] == [
        ("1.4", '{"text": "one"}'),
        ("1.8", '{"text": "two"}'),
    ]
