"""The build's log: secrets and endless lines are taken out, the rest is sent."""

from __future__ import annotations

from kedge_runner.lines import LineCap
from kedge_runner.masker import Masker
from kedge_runner.sender import Sender
from kedge_runner.spool import Spool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from kedge_runner.bell import Bell
    from kedge_runner.client import Client


class Log:
    """Written by one thread. Nothing here waits, except `close`."""

    def __init__(self, client: Client, spool_path: str, bell: Bell) -> None:
        """`client` belongs to the log from now on; `bell` rings when there is news for the writer."""
        self.sender = Sender(client, Spool(spool_path), bell)
        self._masker = Masker([])
        self._lines = LineCap()
        self._in_line = False

    def mask(self, secrets: Iterable[str]) -> None:
        """From now on take these out."""
        self._add(self._masker.finish())
        self._masker = Masker(secrets)

    def write(self, data: bytes) -> None:
        """Add what was printed."""
        self._add(self._masker.feed(data))

    def say(self, text: str) -> None:
        """Add a line of the runner's own; it does not go on where a command stopped within a line."""
        self._add(self._masker.finish())
        start = "\n" if self._in_line else ""
        self.write(f"{start}{text}\n".encode("utf-8", "backslashreplace"))

    def close(self) -> int:
        """Send what is left; return the number of chunks. Raises `Stale`."""
        self._add(self._masker.finish())
        self.sender.add(self._lines.finish())
        return self.sender.finish()

    def _add(self, data: bytes) -> None:
        if data:
            self._in_line = not data.endswith(b"\n")
            self.sender.add(self._lines.feed(data))
