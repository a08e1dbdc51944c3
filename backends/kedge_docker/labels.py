"""How containers are known as Kedge's, and as whose."""

from __future__ import annotations

import re

from kedge import AttemptName

#: the Kedge whose container it is: several may share one engine
OWNER = "kedge.owner"
#: the Kedge whose service it is in a swarm, which all its nodes are
CLUSTER = "kedge.cluster"
#: a service that nobody needs any more, and that goes once its task has gone
RETIRED = "kedge.retired"
BUILD = "kedge.build"
ATTEMPT = "kedge.attempt"
#: it was started before there was a job for it; labels cannot be changed, so its name tells the attempt
WARM = "kedge.warm"

_NAME = re.compile(r"/?kedge-(.+)-([0-9]+)", re.ASCII)
_CONTAINER = re.compile(r"[0-9a-f]{64}", re.ASCII)


def name_of(attempt: AttemptName) -> str:
    """The name of an attempt's container or service."""
    return f"kedge-{attempt}"


def attempt_in(name: str) -> AttemptName | None:
    """The attempt that a name tells; None for any other name."""
    found = _NAME.fullmatch(name)
    return AttemptName.read(*found.groups()) if found else None


def is_container_id(text: str) -> bool:
    """Whether it can be the id of a container, and nothing else to the engine."""
    return bool(_CONTAINER.fullmatch(text))
