"""One step from what is to what should be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, kw_only=True)
class Change:
    """`what` names the thing, `details` tells what about it changes; no secret is in either."""

    action: Literal["make", "change", "remove"]
    what: str
    details: tuple[str, ...] = ()
    carry_out: Callable[[], None] = field(repr=False, compare=False)

    def as_json(self) -> dict[str, object]:
        """For `--json`."""
        return {"action": self.action, "what": self.what, "details": list(self.details)}
