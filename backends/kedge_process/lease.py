"""One forked runner that waits for its order."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kedge_process.guard.processes import has_ended

if TYPE_CHECKING:
    import socket


@dataclass(frozen=True, kw_only=True)
class Lease:
    """A supervisor, its runner behind it. Whoever has the lease sends the order or discards it."""

    pid: int
    start: int
    #: of the supervisor; it ends last
    pidfd: int
    channel: socket.socket

    def waits(self) -> bool:
        """Whether it is still there."""
        return not has_ended(self.pidfd)

    def send(self, order: bytes) -> bool:
        """Give the order. False if nobody takes it. Otherwise pidfd and channel are the caller's."""
        try:
            self.channel.send(order)
        except ConnectionError:
            return False
        return True

    def discard(self) -> None:
        """Let it end without having run."""
        self.channel.close()
        os.close(self.pidfd)
