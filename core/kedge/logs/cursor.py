"""A place in a log, as readers keep it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from kedge.errors import InvalidInput

#: a part and a byte, neither larger than a database can be asked for
CURSOR = re.compile(r"([0-9]{1,9})\.([0-9]{1,18})")


@dataclass(frozen=True, kw_only=True, order=True)
class Cursor:
    """Which part, which byte of it."""

    part: int
    offset: int

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Read `part.offset`. Raises `InvalidInput`."""
        match = CURSOR.fullmatch(text)
        if match is None:
            raise InvalidInput("the cursor is not one that Kedge gave out; leave it away to start anew")
        return cls(part=int(match[1]), offset=int(match[2]))

    def __str__(self) -> str:
        """As the API shows it."""
        return f"{self.part}.{self.offset}"
