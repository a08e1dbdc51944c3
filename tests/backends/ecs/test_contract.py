"""The ECS backend keeps the contract of compute, over HTTP, with containers for tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.backends.ecs.conftest import settings_for

from kedge.testing.compute import ComputeSuite
from kedge.testing.fake_host import FakeHost
from kedge.testing.orders import Orders
from kedge_ecs.compute import EcsCompute
from kedge_ecs.settings import EcsSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.docker_engine import Engine

    from kedge import Compute
    from kedge.testing.ecs import EcsServer


class TestEcs(ComputeSuite):
    @pytest.fixture
    async def orders(self, engine: Engine) -> AsyncIterator[Orders]:
        async with Orders(engine.host) as orders:
            yield orders

    @pytest.fixture
    def make_compute(self, ecs: EcsServer, engine: Engine, tmp_path: Path) -> Callable[[], Compute]:
        settings = EcsSettings.model_validate(settings_for(ecs, image=engine.stand_in))
        return lambda: EcsCompute(settings, FakeHost(tmp_path))
