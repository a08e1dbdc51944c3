"""How instances of a version are made, as its author says it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """Part of a version, and of its digest. `None` leaves a number to the settings of the node."""

    #: `module:app`, or a program and its arguments
    entry: tuple[str, ...] = ()
    image: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    #: the path that a new instance must answer with 200 to 399 before it gets traffic
    health: str | None = None
    #: requests that one instance works on at once
    concurrency: int | None = None
    max_instances: int | None = None
    memory_bytes: int | None = None
    #: where it shall run: `region`, `host`, `hostname` or `mode`, as the author wrote it
    placement: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_plain(cls, fields: dict[str, Any]) -> RunSpec:
        """Read back what `dataclasses.asdict` and JSON gave."""
        return cls(**{**fields, "entry": tuple(fields["entry"])})
