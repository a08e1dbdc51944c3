"""Every request has an id, and a line about it."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
import structlog
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from structlog.testing import capture_logs

from kedge.observe.requests import RequestLog


async def answer(_request: Any) -> JSONResponse:
    await asyncio.sleep(0)
    return JSONResponse(structlog.contextvars.get_contextvars())


def client() -> httpx.AsyncClient:
    app = RequestLog(Starlette(routes=[Route("/tags", answer)]))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://kedge.test")


async def test_an_id_that_looks_like_one_is_kept_and_bound() -> None:
    async with client() as http:
        got = await http.get("/tags", headers={"x-request-id": "abc-123.DEF_4"})
    assert got.headers["x-request-id"] == "abc-123.DEF_4"
    assert got.json() == {"request": "abc-123.DEF_4"}
    assert structlog.contextvars.get_contextvars() == {}


@pytest.mark.parametrize("given", ["short", "a" * 65, "has a blank", 'quote"quote', "semi;colon", ""])
async def test_any_other_id_is_replaced(given: str) -> None:
    async with client() as http:
        got = await http.get("/tags", headers={"x-request-id": given})
    made = got.headers["x-request-id"]
    assert len(made) == 32
    assert got.json() == {"request": made}


async def test_requests_at_the_same_time_have_ids_of_their_own() -> None:
    async with client() as http:
        answers = await asyncio.gather(*(http.get("/tags") for _ in range(8)))
    ids = [one.headers["x-request-id"] for one in answers]
    assert len(set(ids)) == 8
    assert [one.json()["request"] for one in answers] == ids


async def test_a_line_tells_what_was_served_without_the_query() -> None:
    with capture_logs() as lines:
        async with client() as http:
            await http.get("/missing?token=hunter2")
    [line] = [one for one in lines if one["event"] == "served"]
    assert (line["method"], line["path"], line["status"]) == ("GET", "/missing", 404)
    assert line["ms"] >= 0
    assert "hunter2" not in str(lines)


async def test_what_is_no_request_passes_through() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    async def nothing(*_: Any) -> Any:
        return {}

    await RequestLog(app)({"type": "lifespan"}, nothing, nothing)
    assert seen == ["lifespan"]
