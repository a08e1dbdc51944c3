"""Ports of this machine for programs that open them themselves."""

from __future__ import annotations

import secrets
import socket

from kedge import CapacityUnavailable

LOOPBACK = "127.0.0.1"
TRIES = 100


class Ports:
    """Hands out ports that nobody listens on. They lie below those that connections take by themselves."""

    def __init__(self, first: int, last: int) -> None:
        """Both ends are handed out too."""
        self._range = range(first, last + 1)
        self._taken: set[int] = set()

    def take(self) -> int:
        """A port, until it is given back. Raises `CapacityUnavailable`."""
        for _ in range(TRIES):
            port = secrets.choice(self._range)
            if port not in self._taken and _is_free(port):
                self._taken.add(port)
                return port
        raise CapacityUnavailable(
            f"no port from {self._range[0]} to {self._range[-1]} is free; widen runtime.process.ports"
        )

    def give_back(self, port: int) -> None:
        """It is not used any more."""
        self._taken.discard(port)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # as servers do, so that connections of an earlier one that linger do not count
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
