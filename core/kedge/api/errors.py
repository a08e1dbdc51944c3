"""Errors as answers. What goes wrong inside is logged, never shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from kedge.api.envelope import failed
from kedge.config.wording import in_words
from kedge.errors import InvalidInput, KedgeError, LogGap, NotFound, RateLimited, Unauthorized
from kedge.placement.cluster_key import MOMENT, WrongMoment

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic_core import ErrorDetails
    from starlette.requests import Request
    from starlette.responses import Response

log = structlog.get_logger("api")

MOST_ERRORS = 20
#: characters of a field's name that are repeated to whoever sent it
LONGEST_PLACE = 200
#: names of machines and buckets are not for whoever asks
FAILED = "Kedge could not do this; its log says why"
AWAY = "what Kedge needs for this is away or full just now; its log says what. Try again later"
WORDS = {
    "dict_type": "must be an object",
    "extra_forbidden": "there is no such field",
    "missing": "is missing",
    "model_type": "must be an object",
}


async def kedge_error(_request: Request, error: Exception) -> Response:
    """An error that Kedge raised on purpose."""
    assert isinstance(error, KedgeError)  # noqa: S101  (registered for this class only)
    headers = {}
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, RateLimited):
        headers["Retry-After"] = "60"
    if isinstance(error, WrongMoment):
        headers[MOMENT.decode()] = error.moment.decode()
    result = {"expected": error.expected} if isinstance(error, LogGap) else None
    message = str(error) if error.status < 500 else AWAY if error.status == 503 else FAILED
    if error.status >= 500:
        log.error("request failed", error=str(error), exc_info=error)
    return failed([(error.code, message)], status=error.status, result=result, headers=headers)


async def invalid_body(_request: Request, error: Exception) -> Response:
    """A body that does not fit its model: each mistake with its place."""
    assert isinstance(error, ValidationError)  # noqa: S101  (as above)
    found = error.errors(include_url=False, include_context=True, include_input=False)
    errors = [(InvalidInput.code, _sentence(one)) for one in found[:MOST_ERRORS]]
    return failed(errors, status=InvalidInput.status)


def _sentence(mistake: ErrorDetails) -> str:
    place = ".".join(str(part) for part in mistake["loc"] if part != "[key]") or "body"
    message = WORDS.get(mistake["type"]) or in_words(mistake)
    return f"{place[:LONGEST_PLACE]}: {message}"


async def http_error(_request: Request, error: Exception) -> Response:
    """What the router has to say: no such path, no such method."""
    assert isinstance(error, HTTPException)  # noqa: S101  (as above)
    code = NotFound.code if error.status_code == 404 else InvalidInput.code
    message = "there is nothing at this address" if error.status_code == 404 else error.detail
    return failed([(code, message)], status=error.status_code, headers=dict(error.headers or {}))


async def gone(_request: Request, _error: Exception) -> Response:
    """The client went away; nobody reads this."""
    return failed([(InvalidInput.code, "the body broke off: send it again")], status=400)


async def unexpected(_request: Request, error: Exception) -> Response:
    """Anything else."""
    log.error("request failed", exc_info=error)
    return failed([(KedgeError.code, FAILED)], status=500)


HANDLERS: dict[Any, Callable[[Request, Exception], Any]] = {
    KedgeError: kedge_error,
    ValidationError: invalid_body,
    HTTPException: http_error,
    ClientDisconnect: gone,
    Exception: unexpected,
}
