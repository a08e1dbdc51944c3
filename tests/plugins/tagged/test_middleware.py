"""A context for every request, and what Kedge does with the plugin."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NoReturn

import structlog

from kedge_tagged import TagsMiddleware, get_logger, get_tags, set_tags, with_log_tags
from kedge_tagged.processors import collect_tags, render_errors

if TYPE_CHECKING:
    import pytest
    from tests.plugins.tagged.conftest import Lines


class App:
    """Remembers the tags of each request."""

    def __init__(self, lines: Lines) -> None:
        self.lines = lines
        self.barrier = asyncio.Barrier(1)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if "path" in scope:
            set_tags(path=scope["path"])
        await self.barrier.wait()
        get_logger(target=self.lines).info(scope["type"])


async def receive() -> Any:
    return {}


async def send(message: Any) -> None:
    """Nobody listens."""


async def test_every_line_of_a_request_is_tagged(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVIRONMENT", "production")
    app = TagsMiddleware(App(lines), "shop", location="fra", tenant="acme")
    await app({"type": "http", "headers": [(b"x-request-id", b"r-1")]}, receive, send)
    assert lines.tags == {
        "source": "shop",
        "handler": "http",
        "environment": "production",
        "location": "fra",
        "tenant": "acme",
        "request": "r-1",
    }
    assert get_tags() == {}


async def test_what_is_not_known_is_not_tagged(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ENVIRONMENT", raising=False)
    await TagsMiddleware(App(lines), "shop")({"type": "websocket"}, receive, send)
    assert lines.tags == {"source": "shop", "handler": "websocket"}


async def test_starting_up_has_no_context(lines: Lines) -> None:
    await TagsMiddleware(App(lines), "shop")({"type": "lifespan"}, receive, send)
    assert lines.tags == {}


async def test_requests_at_the_same_time_do_not_share_tags(lines: Lines) -> None:
    inner = App(lines)
    inner.barrier = asyncio.Barrier(4)
    app = TagsMiddleware(inner, "shop")
    await asyncio.gather(*(app({"type": "http", "path": f"/{n}"}, receive, send) for n in range(4)))
    assert sorted(record["tags"]["path"] for record in lines.records) == ["/0", "/1", "/2", "/3"]


def test_kedges_lines_get_the_tags_of_both_contexts() -> None:
    with structlog.contextvars.bound_contextvars(build="b-1"), with_log_tags("builder", step="clone"):
        event = structlog.contextvars.merge_contextvars(None, "info", {"event": "begun", "took": 3})
        assert collect_tags(None, "info", event) == {
            "event": "begun",
            "took": 3,
            "source": "builder",
            "tags": {"build": "b-1", "step": "clone"},
        }
    assert collect_tags(None, "info", {"event": "begun"}) == {"event": "begun"}


def throw(error: BaseException, cause: BaseException) -> NoReturn:
    raise error from cause


def test_kedges_errors_are_written_with_their_causes() -> None:
    try:
        throw(ValueError("bad"), KeyError("cause"))
    except ValueError as error:
        for info in (True, error, (ValueError, error, error.__traceback__)):
            text = render_errors(None, "error", {"event": "failed", "exc_info": info})["error"]
            assert "ValueError: bad" in text
            assert "[cause]: KeyError: 'cause'" in text
    assert render_errors(None, "info", {"event": "fine", "exc_info": False}) == {"event": "fine"}
