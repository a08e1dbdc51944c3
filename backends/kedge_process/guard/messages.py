"""What Kedge tells its helper processes, as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

#: the environment variable that every process of an attempt carries
MARKER = "KEDGE_ATTEMPT_ID"
#: no message is larger
MOST = 64 * 1024


@dataclass(frozen=True, kw_only=True)
class Quota:
    """What one build may use; `None` is not limited."""

    memory: int | None = None
    processes: int | None = None
    cpus: float | None = None
    open_files: int | None = None
    file_size: int | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is the same for every runner; the fork server's first message."""

    #: folders to import the runner from
    paths: list[str]
    #: what to call with the assignment
    module: str
    function: str
    nice: int = 0
    quota: Quota = field(default_factory=Quota)
    #: folders for groups by controller
    groups: dict[str, str] = field(default_factory=dict)

    @staticmethod
    def decode(data: bytes) -> Plan:
        """Read an encoded plan."""
        fields = json.loads(data)
        return Plan(**{**fields, "quota": Quota(**fields["quota"])})


@dataclass(frozen=True, kw_only=True)
class Order:
    """What makes a waiting runner the runner of one attempt. Holds the token, so has no repr."""

    folder: str
    marker: str
    quota: Quota
    assignment: dict[str, Any] = field(repr=False)

    @staticmethod
    def decode(data: bytes) -> Order:
        """Read an encoded order."""
        fields = json.loads(data)
        return Order(**{**fields, "quota": Quota(**fields["quota"])})


def encode(message: Plan | Order) -> bytes:
    """The bytes that `decode` reads."""
    return json.dumps(asdict(message)).encode()
