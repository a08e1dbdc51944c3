"""What was printed and is not yet taken to be sent: a little in memory, the rest on disk."""

from __future__ import annotations

from kedge_runner.ring import Ring

MEMORY_BYTES = 4 * 1024 * 1024
DISK_BYTES = 64 * 1024 * 1024
REFILL_BYTES = 1024 * 1024


class Spool:
    """First in, first out. It takes whatever it is given, so ask for room before reading more.

    Bytes go from `front` (memory) over the ring (disk) to `back` (memory): the ring is used only when
    `front` is full, and `back` only when the disk will take no more.
    """

    def __init__(self, path: str, *, memory: int = MEMORY_BYTES, disk: int = DISK_BYTES) -> None:
        """Make no file yet."""
        self._memory = memory
        self._front = bytearray()
        self._ring = Ring(path, disk)
        self._back = bytearray()
        self._disk_works = True

    def __len__(self) -> int:
        """How many bytes wait."""
        return len(self._front) + len(self._ring) + len(self._back)

    @property
    def has_room_in_memory(self) -> bool:
        """Whether more may come without any of it going to disk."""
        return not self._ring and not self._back and len(self._front) < self._memory

    @property
    def has_room(self) -> bool:
        """Whether more may come at all."""
        return self.has_room_in_memory or (self._disk_works and self._ring.room > 0 and not self._back)

    def write(self, data: bytes) -> None:
        """Add bytes."""
        if self.has_room_in_memory:
            self._front += data
            return
        if self._disk_works and not self._back:
            try:
                data = data[self._ring.put(data) :]
            except OSError:
                self._disk_works = False
        self._back += data

    def take(self, size: int) -> bytes:
        """Remove and return the next bytes, at most `size`, at least one if any wait."""
        if len(self._front) < size and self._ring:
            self._refill()
        if not self._front and not self._ring:
            self._front, self._back = self._back, self._front
        data = bytes(self._front[:size])
        del self._front[:size]
        return data

    def close(self) -> None:
        """Let go of the file."""
        self._ring.close()

    def _refill(self) -> None:
        while self._ring and len(self._front) < REFILL_BYTES:
            self._front += self._ring.get(REFILL_BYTES)
