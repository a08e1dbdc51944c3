"""Leads tools that speak only TCP to a Kedge that is reached by a Unix socket: git, curl, wrangler."""

from __future__ import annotations

import _socket
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PART = 256 * 1024
BACKLOG = 64
SHUT_WRITE, SHUT_BOTH = 1, 2


class Relay:
    """Listens on a port of this container's own loopback and passes every connection on, both ways."""

    def __init__(self, path: str) -> None:
        """Listen at once; `path` is the socket of Kedge."""
        self._path = path
        self._listener: Any = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(BACKLOG)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            descriptor, _ = self._listener._accept()  # noqa: SLF001  (all that `socket.accept` is made of)
            client = _socket.socket(fileno=descriptor)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: Any) -> None:
        kedge = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        try:
            client.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
            kedge.connect(self._path)
            back = threading.Thread(target=_pass_on, args=(kedge, client), daemon=True)
            back.start()
            _pass_on(client, kedge)
            back.join()
        except OSError:
            pass  # Kedge is away: the client sees a closed connection and does what it does then
        finally:
            client.close()
            kedge.close()


def _pass_on(source: Any, target: Any) -> None:
    try:
        while data := source.recv(PART):
            target.sendall(data)
        target.shutdown(SHUT_WRITE)
    except OSError:
        for one in (source, target):
            try:
                one.shutdown(SHUT_BOTH)
            except OSError:
                pass


def lead_through(relay_url: str, job: dict[str, Any]) -> None:
    """Change the addresses of Kedge in a job, so that commands reach it by the relay."""
    for way in (job["clone"], job["deploy"]):
        if way is not None:  # code from outside deploys nothing
            way["url"] = _moved(way["url"], job["public_url"], relay_url)


def _moved(url: str, old: str, new: str) -> str:
    return new + url[len(old) :] if url == old or url.startswith(old + "/") else url
