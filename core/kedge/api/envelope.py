"""The envelope that every answer of the API comes in."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.responses import Response


def ok(result: Any, *, status: int = 200, result_info: dict[str, int] | None = None) -> Response:
    """A success."""
    envelope = {"success": True, "errors": [], "messages": [], "result": result}
    if result_info is not None:
        envelope["result_info"] = result_info
    return _json(envelope, status)


def failed(
    errors: list[tuple[int, str]],
    *,
    status: int,
    result: Any = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """A failure: each error with its code and what to do."""
    envelope = {
        "success": False,
        "errors": [{"code": code, "message": message} for code, message in errors],
        "messages": [],
        "result": result,
    }
    return _json(envelope, status, headers)


def page_info(*, page: int, per_page: int, count: int, total: int) -> dict[str, int]:
    """`result_info` of one page of many."""
    pages = -(-total // per_page)
    return {
        "page": page,
        "per_page": per_page,
        "count": count,
        "total_count": total,
        "total_pages": pages,
        "next_page": page + 1 if page < pages else 0,
    }


def _json(envelope: dict[str, Any], status: int, headers: dict[str, str] | None = None) -> Response:
    return Response(
        orjson.dumps(envelope), status_code=status, headers=headers, media_type="application/json"
    )
