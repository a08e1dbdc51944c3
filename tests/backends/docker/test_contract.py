"""The Docker backend keeps the contract of compute, with containers that wait and without."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from kedge.testing.compute import ComputeSuite
from kedge.testing.fake_host import FakeHost
from kedge.testing.orders import Orders
from kedge_docker.compute import DockerCompute
from kedge_docker.settings import DockerSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from tests.docker_engine import Engine

    from kedge import Compute


class DockerSuite(ComputeSuite):
    settings: ClassVar[dict[str, Any]]

    @pytest.fixture
    async def orders(self, tmp_path: Path) -> AsyncIterator[Orders]:
        async with Orders(f"unix:{tmp_path}/kedge.sock") as orders:
            yield orders

    @pytest.fixture
    def make_compute(self, engine: Engine, orders: Orders, tmp_path: Path) -> Iterator[Callable[[], Compute]]:
        settings = DockerSettings.model_validate(
            {"image": engine.stand_in, "memory": "128 MiB"} | self.settings
        )
        yield lambda: DockerCompute(settings, FakeHost(tmp_path, endpoint=orders.endpoint))
        engine.remove_containers_of(tmp_path)


class TestWarm(DockerSuite):
    """The containers that wait have the shape of what the suite asks for: code from outside."""

    settings: ClassVar[dict[str, Any]] = {"warm": 1, "network": "none"}


class TestCold(DockerSuite):
    settings: ClassVar[dict[str, Any]] = {"warm": 0}
