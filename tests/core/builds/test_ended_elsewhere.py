"""What another node has ended is stopped by the node whose compute runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlmodel import select
from tests.core.api.conftest import URL, _registry
from tests.core.workers.conftest import _add_build, _add_worker

from kedge.config import Settings
from kedge.contracts.compute import ComputeRequest, ComputeStatus
from kedge.db.bus import Bus
from kedge.db.clock import now_ms
from kedge.db.tables import Attempt, Build
from kedge.errors import CapacityUnavailable
from kedge.node import membership
from kedge.node.parts import Parts
from kedge.testing.fake_compute import FakeCompute

if TYPE_CHECKING:
    from pathlib import Path

    from sqlmodel import Session

    from kedge.db.engine import Database

NODE = "n1"


class Node:
    """A node whose engine may be away, and one attempt that runs there."""

    def __init__(self, db: Database, folder: Path) -> None:
        values: dict[str, Any] = {
            "server": {"data_dir": folder},
            "node": {"name": NODE},
            "compute": {"use": "fake"},
            "forges": {"use": []},
        }
        self.parts = Parts(Settings.model_validate(values), _registry(), db, Bus(db, NODE), URL)
        assert isinstance(self.parts.compute, FakeCompute)
        self.compute = self.parts.compute
        self.compute_id = ""
        #: how often the engine was asked in vain
        self.refused = 0
        self._list = self.compute.list

    async def start(self) -> None:
        db = self.parts.builds.db
        build = await db.write(_add_running_build)
        request = ComputeRequest(build_uuid=build, attempt=1, endpoint="", token="", trusted=True)
        self.compute_id = await self.compute.start(request)
        await db.write(_add_attempt, build, self.compute_id)

    def answer(self, *, engine: bool) -> None:
        self.compute.list = self._list if engine else self._away  # type: ignore[method-assign]

    async def _away(self) -> list[ComputeStatus]:
        self.refused += 1
        raise CapacityUnavailable("the engine is away")

    async def look(self) -> None:
        await self.parts.membership._stop_ended()

    @property
    def runs(self) -> bool:
        return self.compute_id in self.compute.machine.attempts


def _add_running_build(session: Session) -> str:
    return _add_build(session, _add_worker(session, "hello", "default"), is_production=True)


def _add_attempt(session: Session, build_uuid: str, compute_id: str) -> None:
    """It runs on this node, and another has ended it a while ago."""
    build = session.exec(select(Build).where(Build.build_uuid == build_uuid)).one()
    assert build.id is not None
    ended = now_ms() - 2 * membership.SELF_MS
    session.add(
        Attempt(
            build_id=build.id,
            number=1,
            account_id=build.account_id,
            build_uuid=build_uuid,
            token_hash="t",
            deploy_token_hash="d",
            node=NODE,
            compute="fake",
            compute_id=compute_id,
            location="here",
            started_on=ended - 1,
            ended_on=ended,
        )
    )


@pytest.fixture
async def node(db: Database, tmp_path: Path) -> Node:
    return Node(db, tmp_path)


async def test_it_is_stopped_once_the_engine_answers_again(node: Node) -> None:
    await node.start()
    node.answer(engine=False)
    await node.look()
    assert node.runs

    node.answer(engine=True)
    await node.look()
    assert not node.runs


async def test_it_is_stopped_however_long_the_engine_was_away(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    await node.look()
    await node.start()
    node.answer(engine=False)
    await node.look()
    much_later = now_ms() + 10 * membership.LATELY_MS
    monkeypatch.setattr(membership, "now_ms", lambda: much_later)
    await node.look()

    node.answer(engine=True)
    await node.look()
    assert not node.runs


async def test_what_was_looked_at_is_not_looked_for_again(node: Node) -> None:
    await node.start()
    await node.look()
    assert not node.runs
    node.answer(engine=False)
    await node.look()

    assert node.refused == 0
