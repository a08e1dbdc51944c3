"""What anybody may ask: does it live, is it ready, what is its API."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import TYPE_CHECKING

import orjson
import structlog
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from kedge.api.openapi import document
from kedge.errors import StoreUnavailable

if TYPE_CHECKING:
    from sqlmodel import Session
    from starlette.requests import Request

    from kedge.api.services import Services

log = structlog.get_logger("health")


async def live(_request: Request) -> Response:
    """The process lives."""
    return JSONResponse({"status": "ok"})


async def ready(request: Request) -> Response:
    """The database answers, and so does everything else: nothing is served before all is open."""
    services: Services = request.app.state.services
    try:
        await services.db.read(_ask)
    except (StoreUnavailable, SQLAlchemyError, RuntimeError):
        log.warning("the database does not answer", exc_info=True)
        return JSONResponse({"status": "the database does not answer"}, status_code=503)
    return JSONResponse({"status": "ready", "node": services.settings.node.name})


async def openapi(_request: Request) -> Response:
    """The API as OpenAPI 3.1."""
    return Response(await asyncio.to_thread(_document), media_type="application/json")


@cache
def _document() -> bytes:
    return orjson.dumps(document())


def _ask(session: Session) -> None:
    session.connection().execute(text("SELECT 1"))


routes = [
    Route("/healthz", live, methods=["GET"]),
    Route("/readyz", ready, methods=["GET"]),
    Route("/openapi.json", openapi, methods=["GET"]),
]
