"""What a route asks of the database."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from sqlalchemy import event

if TYPE_CHECKING:
    from tests.core.api.conftest import Caller, World


#: set for the call alone: what the node looks for by itself meanwhile runs in tasks that began before
CALLED = ContextVar("called", default=False)


async def statements(world: World, me: Caller, path: str) -> int:
    """Statements that a route's readers run, besides the one that looks up the caller's token."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("SELECT") and "object_" not in statement:
            seen.append(statement)

    reads: list[int] = []
    original = world.db.read

    async def counted(query: Any, *args: Any, **kwargs: Any) -> Any:
        if not CALLED.get():
            return await original(query, *args, **kwargs)

        def run(session: Any, *more: Any, **named: Any) -> Any:
            event.listen(session.connection(), "before_cursor_execute", note)
            seen.clear()
            result = query(session, *more, **named)
            reads.append(len(seen))
            event.remove(session.connection(), "before_cursor_execute", note)
            return result

        return await original(run, *args, **kwargs)

    # it is believed for a while, which may or may not be over by now
    world.parts.host.access.forget()
    world.db.read = counted  # type: ignore[method-assign]
    called = CALLED.set(True)
    try:
        await me.result("GET", path)
    finally:
        CALLED.reset(called)
        world.db.read = original  # type: ignore[method-assign]
    return sum(reads) - 1
