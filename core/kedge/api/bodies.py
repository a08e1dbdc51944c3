"""Reading what requests bring: a checked body, a number of the query."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ConfigDict

from kedge.api.forms import is_form, value_of
from kedge.errors import InvalidInput, TooLarge

if TYPE_CHECKING:
    from starlette.requests import Request

    from kedge.api.services import Services

Body = TypeVar("Body", bound=BaseModel)

#: the largest JSON body of a route that does not say otherwise
LIMIT = 1024 * 1024
#: the largest number: every database can keep it
MOST = 10**9 - 1
#: no more digits than it has: to read thousands of them takes long, or is refused by Python
NUMBER = re.compile(r"[0-9]{1,9}")


class Strict(BaseModel):
    """A body in which every key is known."""

    model_config = ConfigDict(extra="forbid")


async def read_bytes(request: Request, limit: int = LIMIT) -> bytes:
    """The body. Raises `TooLarge`."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise TooLarge(f"the body is over {limit} bytes")
        parts.append(part)
    return b"".join(parts)


async def read(request: Request, model: type[Body], *, part: str | None = None) -> Body:
    """The JSON body, or the value called `part` of a form; checked.

    Raises `TooLarge`, `InvalidInput`, or pydantic's `ValidationError`.
    """
    body = await read_bytes(request)
    content_type = request.headers.get("content-type", "")
    if part is not None and is_form(content_type):
        body = await asyncio.to_thread(value_of, content_type, body, part)
    return model.model_validate_json(body)


def number(request: Request, name: str, *, default: int, least: int = 1, most: int = MOST) -> int:
    """A number from `least` to `most` of the query, `default` if it is not there. Raises `InvalidInput`."""
    given = request.query_params.get(name)
    return default if given is None else as_number(given, name, least=least, most=most)


def as_number(given: str, name: str, *, least: int = 0, most: int = MOST) -> int:
    """What somebody wrote as a number. Raises `InvalidInput`."""
    if NUMBER.fullmatch(given) and least <= int(given) <= most:
        return int(given)
    raise InvalidInput(f"{name} must be a number from {least} to {most}")


def paging(request: Request, *, default: int, most: int) -> tuple[int, int]:
    """`?page=` and `?per_page=`. Raises `InvalidInput`."""
    page = number(request, "page", default=1, most=10**6)
    return page, number(request, "per_page", default=default, most=most)


def services(request: Request) -> Services:
    """The node's services."""
    found: Services = request.app.state.services
    return found
