"""What an archive may hold. The same for saving and restoring: what was saved can be restored."""

from __future__ import annotations

from kedge_runner.cache.errors import CacheFailed

MOST_MEMBERS = 1_000_000
MOST_BYTES = 40 * 1000**3
#: so many bytes may come out of one byte of archive; real trees stay far below
LARGEST_RATIO = 200
#: and so many may always
ALWAYS_ALLOWED = 256 * 1024 * 1024
MOST_DEPTH = 128
LONGEST_NAME = 4096
#: tar pads its archives with empty blocks
MOST_PADDING = 1024 * 1024


class Budget:
    """Counts what is taken out of an archive of `size` bytes."""

    def __init__(self, size: int) -> None:
        """Nothing yet."""
        self.members = 0
        self.bytes = 0
        self._most = min(MOST_BYTES, max(ALWAYS_ALLOWED, size * LARGEST_RATIO))

    def take(self, size: int) -> None:
        """Count a member. Raises `CacheFailed` when it is too much."""
        self.members += 1
        self.bytes += size
        if self.members > MOST_MEMBERS:
            raise CacheFailed(f"it holds more than {MOST_MEMBERS} files")
        if self.bytes > self._most:
            raise CacheFailed(f"it holds more than the {self._most} bytes that an archive of its size may")
