"""What an endpoint says of its answer and its query, for the OpenAPI document."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    Endpoint = Callable[[Request], Awaitable[Response]]

PAGES = {"page": "Which page, from 1.", "per_page": "How many on a page."}
_OPERATION = "__kedge_operation__"


@dataclass(frozen=True, kw_only=True)
class Operation:
    """What is said of one endpoint."""

    #: the type of `result`; `Any` where nothing is said
    result: Any = Any
    #: the parameters of the query with their meaning
    query: Mapping[str, str] = field(default_factory=dict)
    #: those that cannot be left out
    required: frozenset[str] = frozenset()
    paged: bool = False
    #: wants no token
    nameless: bool = False
    #: other media types, if they are asked for
    also: tuple[str, ...] = ()


def answers(
    result: Any,
    *,
    query: Mapping[str, str] | None = None,
    required: frozenset[str] = frozenset(),
    paged: bool = False,
    nameless: bool = False,
    also: tuple[str, ...] = (),
) -> Callable[[Endpoint], Endpoint]:
    """Say what an endpoint answers; it is called as before."""
    known = {**(query or {}), **(PAGES if paged else {})}

    def note(endpoint: Endpoint) -> Endpoint:
        operation = Operation(
            result=result, query=known, required=required, paged=paged, nameless=nameless, also=also
        )
        setattr(endpoint, _OPERATION, operation)
        return endpoint

    return note


def operation_of(endpoint: Any) -> Operation:
    """What was said of an endpoint."""
    found: Operation = getattr(endpoint, _OPERATION, Operation())
    return found
