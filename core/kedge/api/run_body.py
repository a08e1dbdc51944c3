"""How instances are made, as an upload says it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints

from kedge.api import bodies
from kedge.config.wording import IMAGE, NO_NUL, URL_PATH, VARIABLE
from kedge.contracts.runtime import GIVEN_VARIABLES, InstanceKind
from kedge.errors import InvalidInput
from kedge.workers.manifest import STATIC
from kedge.workers.placement_wishes import check_placement
from kedge.workers.run_spec import RunSpec

if TYPE_CHECKING:
    from kedge.workers.running import Running

#: bytes of all variables together: secrets and what Kedge adds have to fit beside them
MOST_BYTES = 40 * 1024

Argument = Annotated[str, StringConstraints(min_length=1, max_length=4096, pattern=NO_NUL)]


def _not_given(name: str) -> str:
    if name in GIVEN_VARIABLES:
        raise ValueError(f"{name} is set by Kedge for every instance, and no other value could reach one")
    return name


InstanceVariable = Annotated[str, StringConstraints(pattern=VARIABLE), AfterValidator(_not_given)]
Value = Annotated[str, StringConstraints(max_length=5120, pattern=NO_NUL)]
Path = Annotated[str, StringConstraints(max_length=1024, pattern=URL_PATH)]
APPLICATION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", re.ASCII)


class RunBody(bodies.Strict):
    """What is run, and how."""

    entry: list[Argument] = Field(default_factory=list, max_length=100)
    image: Annotated[str, StringConstraints(max_length=512, pattern=IMAGE)] | None = None
    variables: dict[InstanceVariable, Value] = Field(default_factory=dict, max_length=256)
    health: Path | None = None
    concurrency: int | None = Field(default=None, ge=1, le=10_000)
    max_instances: int | None = Field(default=None, ge=1, le=1000)
    memory_bytes: int | None = Field(default=None, ge=16 * 1024 * 1024)
    placement: dict[str, Any] = Field(default_factory=dict, max_length=8)


def run_spec(kind: str, body: RunBody | None, running: Running | None) -> RunSpec | None:
    """The checked form. Raises `InvalidInput` for what cannot be run, here or anywhere."""
    if kind == STATIC:
        if body is not None:
            raise InvalidInput("a static version runs nothing: leave `run` away, or name another kind")
        return None
    if running is None:
        raise InvalidInput(
            f"this Kedge serves files alone and cannot run kind {kind}: choose a runtime in its settings, "
            'such as [runtime] use = "process"'
        )
    if kind not in running.kinds:
        can = ", ".join(sorted(running.kinds))
        raise InvalidInput(f"the runtime of this Kedge cannot run kind {kind}, only {can}")
    body = body or RunBody()
    _check_entry(InstanceKind(kind), body)
    if sum(len(name) + len(value.encode()) for name, value in body.variables.items()) > MOST_BYTES:
        raise InvalidInput(f"all variables together may have {MOST_BYTES >> 10} KiB")
    fields = body.model_dump()
    placement = check_placement(body.placement)
    return RunSpec(**{**fields, "entry": tuple(body.entry), "placement": placement})


def _check_entry(kind: InstanceKind, body: RunBody) -> None:
    if kind is InstanceKind.IMAGE:
        if body.image is None:
            raise InvalidInput("kind image needs `image`, the name of a container image")
        return
    if body.image is not None:
        raise InvalidInput(f"kind {kind.value} runs files: `image` is for kind image")
    if kind is InstanceKind.COMMAND and not body.entry:
        raise InvalidInput('kind command needs `entry`, such as "node server.js"')
    if kind is InstanceKind.ASGI and (len(body.entry) != 1 or not APPLICATION.fullmatch(body.entry[0])):
        raise InvalidInput('kind asgi needs `entry`, a module and the application in it, such as "app:app"')
