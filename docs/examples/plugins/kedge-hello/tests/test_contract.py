"""The backend keeps the contract of compute, as Kedge's own backends do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from kedge import CapacityUnavailable, Compute
from kedge.testing.compute import ComputeSuite
from kedge.testing.fake_host import FakeHost

from kedge_hello.compute import HelloCompute
from kedge_hello.settings import HelloSettings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kedge import ComputeRequest
    from kedge.testing.orders import Orders


class TestHello(ComputeSuite):
    @pytest.fixture
    def make_compute(self, tmp_path: Path) -> Callable[[], Compute]:
        return lambda: HelloCompute(HelloSettings(), FakeHost(tmp_path))


class TestFullHouse(ComputeSuite):
    @pytest.fixture
    def make_compute(self, tmp_path: Path) -> Callable[[], Compute]:
        return lambda: HelloCompute(HelloSettings(max_attempts=8), FakeHost(tmp_path))

    async def test_past_its_places_a_start_has_to_wait(
        self, compute: Compute, orders: Orders, request_factory: Callable[..., ComputeRequest]
    ) -> None:
        requests = [request_factory() for _ in range(8)]
        for request in requests:
            await compute.start(request)
        with pytest.raises(CapacityUnavailable, match="all 8 places of this node are taken"):
            await compute.start(request_factory())
        (await orders.caller(requests[0])).order(["wait"])
        await compute.stop(f"{requests[0].build_uuid}-1", grace=5)
        await compute.start(request_factory())
