"""The contract of compute, on a real account: see docs/howto/run-builds-on-ecs.md. Never part of a usual run.

`TRY_ECS_CONFIG` names a config as configs/aws.toml, whose image holds the stand-in for the runner;
`TRY_ECS_ADDRESS` is an address of this machine that its tasks reach, at any port.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

import kedge.testing.orders

# a task on Fargate takes a minute to start; who imports it from there has to come after this
kedge.testing.orders.PATIENCE = 600.0

from kedge.testing.compute import ComputeSuite  # noqa: E402
from kedge.testing.fake_host import FakeHost  # noqa: E402
from kedge_ecs.compute import EcsCompute  # noqa: E402
from kedge_ecs.settings import EcsSettings  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from kedge import Compute

# not KEDGE_: tests run without variables of that name
CONFIG, ADDRESS = os.environ["TRY_ECS_CONFIG"], os.environ["TRY_ECS_ADDRESS"]
SIGNING = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}


@pytest.mark.timeout(1800)
class TestAws(ComputeSuite):
    @pytest.fixture
    async def orders(self) -> AsyncIterator[kedge.testing.orders.Orders]:
        async with kedge.testing.orders.Orders(ADDRESS) as orders:
            yield orders

    @pytest.fixture
    def make_compute(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Compute]:
        for name, value in SIGNING.items():
            monkeypatch.setenv(name, value)
        table = tomllib.loads(Path(CONFIG).read_text())["compute"]["ecs"]
        # ECS tells of what has ended for an hour: each test has a family of its own
        table |= {"family": f"kedge-try-{uuid4().hex}", "stop_timeout": 2}
        table.setdefault("untrusted_network", table["network"])
        settings = EcsSettings.model_validate(table)
        return lambda: EcsCompute(settings, FakeHost(tmp_path))
