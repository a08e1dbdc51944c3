"""The date of an answer."""

from __future__ import annotations

import time
from email.utils import formatdate


class _Clock:
    """Formats a second once, when it is first asked for: an idle node does nothing."""

    def __init__(self) -> None:
        self._second = 0
        self._date = b""

    def __call__(self) -> bytes:
        """The value of `Date` now."""
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._date = formatdate(second, usegmt=True).encode()
        return self._date


http_date = _Clock()
