"""How containers are known as Kedge's, and as whose."""

from __future__ import annotations

import re
from dataclasses import dataclass

from kedge import StartRefused

#: the Kedge whose container it is: several may share one engine
OWNER = "kedge.owner"
#: the Kedge whose service it is in a swarm, which all its nodes are
CLUSTER = "kedge.cluster"
BUILD = "kedge.build"
ATTEMPT = "kedge.attempt"
#: it was started before there was a job for it; labels cannot be changed, so its name tells the attempt
WARM = "kedge.warm"

_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,127}", re.ASCII)
_NAME = re.compile(r"/?kedge-([0-9A-Za-z][0-9A-Za-z_-]{0,127})-([0-9]{1,9})", re.ASCII)
_CONTAINER = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class AttemptName:
    """The attempt that a container belongs to; its text is the container's name."""

    build_uuid: str
    attempt: int

    def __str__(self) -> str:
        """The name of its container."""
        return f"kedge-{self.build_uuid}-{self.attempt}"

    @classmethod
    def of(cls, build_uuid: str, attempt: int) -> AttemptName:
        """The name for an attempt. Raises `StartRefused` for an id that is none."""
        if not _ID.fullmatch(build_uuid) or attempt < 0:
            raise StartRefused(f"{build_uuid!r} is not the id of a build")
        return cls(build_uuid=build_uuid, attempt=attempt)

    @classmethod
    def read(cls, name: str) -> AttemptName | None:
        """The attempt that a container's name tells; None for any other name."""
        found = _NAME.fullmatch(name)
        return cls(build_uuid=found[1], attempt=int(found[2])) if found else None


def is_container_id(text: str) -> bool:
    """Whether it can be the id of a container, and nothing else to the engine."""
    return bool(_CONTAINER.fullmatch(text))
