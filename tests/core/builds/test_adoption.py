"""What a node finds running is adopted or ended, however long compute or the database is away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.core.builds.test_ended_elsewhere import Node

from kedge.builds import adoption
from kedge.builds.adoption import Adoption
from kedge.errors import CapacityUnavailable, StoreUnavailable

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from kedge.contracts.compute import ComputeStatus
    from kedge.db.engine import Database


async def test_adoption_waits_for_whatever_is_away(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adoption, "PAUSE", 0.0)
    node = Node(db, tmp_path)
    await node.start()
    there = node.compute.list
    away: list[Exception] = [
        CapacityUnavailable("the engine is away"),
        StoreUnavailable("the database is away"),
        RuntimeError("a fault of a plugin"),
        CapacityUnavailable("the engine is away"),
    ]

    async def answer() -> list[ComputeStatus]:
        if away:
            raise away.pop(0)
        return await there()

    monkeypatch.setattr(node.compute, "list", answer)
    await Adoption(node.parts.builds, node.parts.objects, alone=False).run()
    await node.parts.background.close(patience=60)

    assert away == []
    assert not node.runs
