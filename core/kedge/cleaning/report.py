"""What a cleaning has found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kedge.db.tables import Version


@dataclass(kw_only=True)
class Amount:
    """Blobs of one kind."""

    count: int = 0
    size: int = 0
    #: why no more of this kind is known
    trouble: str | None = None


@dataclass(frozen=True, kw_only=True)
class Report:
    """What is gone, or would go."""

    #: that no rule keeps
    versions: Sequence[Version]
    #: by the name of the kind
    blobs: dict[str, Amount] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many blobs of all kinds."""
        return sum(amount.count for amount in self.blobs.values())

    @property
    def size(self) -> int:
        """Their bytes."""
        return sum(amount.size for amount in self.blobs.values())
