"""The date of an answer."""

from __future__ import annotations

from email.utils import formatdate
from time import time


class _Clock:
    """Formats a second once, when it is first asked for: an idle node does nothing."""

    def __init__(self) -> None:
        self._second = 0.0
        self._date = b""

    def __call__(self) -> bytes:
        """The value of `Date` now."""
        if not 0.0 <= time() - self._second < 1.0:
            self._second = float(int(time()))
            self._date = formatdate(self._second, usegmt=True).encode()
        return self._date


http_date = _Clock()
