"""The sockets a node listens on."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from kedge.errors import KedgeError

if TYPE_CHECKING:
    from pathlib import Path


class AddressInUse(KedgeError):
    """The address to listen on is taken."""

    code = 10401


def listen_tcp(address: str) -> socket.socket:
    """A listening TCP socket on `host:port` (port 0: any free one). Raises `AddressInUse`."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, int(port)))
    except OSError as error:
        listener.close()
        raise AddressInUse(
            f"cannot listen on {address}: {error.strerror}. Choose another address by --listen, "
            "for example --listen 127.0.0.1:0 for any free port"
        ) from error
    return listener


def listen_unix(path: Path) -> socket.socket:
    """A Unix socket that only this user can reach; what an earlier node left there is replaced."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    path.chmod(0o600)
    return listener


def url_of(listener: socket.socket, *, elsewhere: str = "127.0.0.1") -> str:
    """The URL of a TCP listener; one on all addresses is reached by `elsewhere`."""
    host, port = listener.getsockname()[:2]
    if host in {"0.0.0.0", "::"}:  # noqa: S104  (compared, not bound)
        host = elsewhere
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
