"""What instances in the contract suite run: a server that does what its requests say."""

from __future__ import annotations

import json
import os
import signal
import socketserver
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

#: what a runtime must not have shown of itself: how the program was started
SHOWN = "/proc/self/cmdline"
DEAF = threading.Event()


class Handler(BaseHTTPRequestHandler):
    """Each path is an order."""

    def do_GET(self) -> None:
        """Obey, then answer with JSON."""
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        answer = ORDERS[url.path](query)
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing of requests: output is what the orders ask for."""


def _exit(query: dict[str, str]) -> None:
    sys.stdout.flush()
    os._exit(int(query["code"]))


def _print(query: dict[str, str]) -> bool:
    stream = sys.stderr if query.get("to") == "stderr" else sys.stdout
    stream.write(query["text"] * int(query.get("times", "1")))
    stream.flush()
    return True


def _deaf(_: dict[str, str]) -> bool:
    # signals are the main thread's, and this is another one
    DEAF.set()
    return True


def _asked_to_end(*_: object) -> None:
    if not DEAF.is_set():
        os._exit(0)


def _child(_: dict[str, str]) -> int:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    return child.pid


def _write(query: dict[str, str]) -> str:
    try:
        Path(query["path"]).write_text("changed")
    except OSError as error:
        return error.strerror or "refused"
    return "written"


ORDERS = {
    "/": lambda _: "up",
    "/environment": lambda _: dict(os.environ),
    "/arguments": lambda _: Path(SHOWN).read_text().split("\0"),
    "/read": lambda query: Path(query["path"]).read_text(),
    "/write": _write,
    "/pid": lambda _: os.getpid(),
    "/exit": _exit,
    "/print": _print,
    "/deaf": _deaf,
    "/child": _child,
}


class Server(socketserver.ThreadingTCPServer):
    """One thread a connection."""

    allow_reuse_address = True
    daemon_threads = True


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _asked_to_end)
    address = (os.environ.get("HOST", "127.0.0.1"), int(os.environ["PORT"]))
    with Server(address, Handler) as server:
        _print({"text": "listening\n"})
        server.serve_forever()
