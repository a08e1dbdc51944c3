"""A process backend with stand-in runners."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from kedge import ComputeRequest
from kedge.testing.fake_host import FakeHost
from kedge.testing.orders import STAND_IN, Caller, Exits, Orders
from kedge_process.compute import ProcessCompute
from kedge_process.plan import RunnerCode
from kedge_process.settings import ProcessSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from kedge import ComputeStatus

RUNNER = RunnerCode(folder=str(STAND_IN), module="kedge_runner.main")


class Lab:
    """A backend, what its runners are told, and what it tells."""

    def __init__(self, folder: Path, orders: Orders) -> None:
        self.folder = folder
        self.orders = orders
        self.runner = RUNNER
        self.compute: ProcessCompute
        self.exits: Exits

    @property
    def workspaces(self) -> Path:
        return self.folder / "workspaces"

    async def open(self, **settings: Any) -> ProcessCompute:
        model = ProcessSettings.model_validate(settings)
        self.compute = ProcessCompute(model, FakeHost(self.folder), runner=self.runner)
        await self.compute.open()
        self.exits = Exits(self.compute)
        return self.compute

    async def close(self) -> None:
        await self.compute.close()
        await self.exits.over()

    async def reopen(self, **settings: Any) -> ProcessCompute:
        await self.close()
        return await self.open(**settings)

    def request(self, **fields: Any) -> ComputeRequest:
        new = {"build_uuid": str(uuid4()), "attempt": 1, "token": uuid4().hex, "trusted": True}
        return ComputeRequest(**{"endpoint": self.orders.endpoint, **new, **fields})

    async def start(self, *steps: list[Any], **fields: Any) -> tuple[str, Caller]:
        """Start an attempt that does these steps; returns its id and its runner."""
        request = self.request(**fields)
        compute_id = await self.compute.start(request)
        runner = await self.orders.caller(request)
        if steps:
            runner.order(*steps)
        return compute_id, runner

    async def run(self, *steps: list[Any], **fields: Any) -> ComputeStatus:
        """Let an attempt do these steps; returns how it ended."""
        compute_id, _ = await self.start(*steps, **fields)
        return await self.exits.of(compute_id)

    def folder_of(self, runner: Caller) -> Path:
        return self.workspaces / f"{runner.hello['build_uuid']}-{runner.hello['attempt']}"


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    async with Orders() as orders:
        lab = Lab(tmp_path, orders)
        yield lab
        for status in await lab.compute.list():
            await lab.compute.stop(status.compute_id, grace=0)
        await lab.close()
