"""Wakes a thread that waits, by a descriptor that can be polled beside others.

`threading` would do, but its import costs a build as much as the runner itself.
"""

from __future__ import annotations

import os
import select


class Bell:
    """Rings are not counted. One that comes while nobody waits ends the next wait at once."""

    def __init__(self) -> None:
        """Silent."""
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self.fd, select.POLLIN)

    def ring(self) -> None:
        """End the wait. Safe in a signal handler and from any thread."""
        os.eventfd_write(self.fd, 1)

    def wait(self, timeout: float) -> bool:
        """Wait for a ring, at most `timeout` seconds. Whether there was one."""
        rang = bool(self._poll.poll(max(timeout, 0) * 1000))
        self.clear()
        return rang

    def clear(self) -> None:
        """Forget rings so far."""
        try:
            os.eventfd_read(self.fd)
        except BlockingIOError:
            pass
