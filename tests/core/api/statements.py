"""What a route asks of the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import event

if TYPE_CHECKING:
    from tests.core.api.conftest import Caller, World


async def statements(world: World, me: Caller, path: str) -> int:
    """Statements that readers run while a route is called."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("SELECT") and "object_" not in statement:
            seen.append(statement)

    reads: list[int] = []
    original = world.db.read

    async def counted(query: Any, *args: Any, **kwargs: Any) -> Any:
        def run(session: Any, *more: Any, **named: Any) -> Any:
            event.listen(session.connection(), "before_cursor_execute", note)
            seen.clear()
            result = query(session, *more, **named)
            reads.append(len(seen))
            event.remove(session.connection(), "before_cursor_execute", note)
            return result

        return await original(run, *args, **kwargs)

    await me.result("GET", "/tokens")
    world.db.read = counted  # type: ignore[method-assign]
    try:
        await me.result("GET", path)
    finally:
        world.db.read = original  # type: ignore[method-assign]
    return sum(reads)
