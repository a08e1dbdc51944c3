"""Where a backend under test runs stand-ins."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from kedge.contracts.compute import ComputeRequest
from kedge.testing.orders import STAND_IN, Exits, Orders

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from kedge.contracts.compute import Compute
    from kedge.testing.orders import Caller


@dataclass(frozen=True, kw_only=True)
class Run:
    """An attempt that was started, and its stand-in, which has called."""

    request: ComputeRequest
    compute_id: str
    runner: Caller


class Place:
    """The fixtures of the suite, of which a backend gives `make_compute`."""

    #: attempts after which a backend has opened what it keeps open, such as pools of connections
    settling = 3
    #: whether requests are of trusted builds; for a backend that refuses any other
    trusted = False

    @pytest.fixture(autouse=True)
    def stand_in(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whoever looks for `kedge_runner` finds the stand-in."""
        for name in [name for name in sys.modules if name.partition(".")[0] == "kedge_runner"]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.syspath_prepend(STAND_IN)

    @pytest.fixture
    def make_compute(self) -> Callable[[], Compute]:
        """Returns a new instance, not yet open, over the same place each time: a node that restarts."""
        raise NotImplementedError

    @pytest.fixture
    async def orders(self) -> AsyncIterator[Orders]:
        """Where the stand-in calls; override it where `127.0.0.1` is not this machine for a runner."""
        async with Orders() as orders:
            yield orders

    @pytest.fixture
    async def compute(self, orders: Orders, make_compute: Callable[[], Compute]) -> AsyncIterator[Compute]:
        """The backend under test, open; what runs on it is ended after the test."""
        compute = make_compute()
        await compute.open()
        yield compute
        for status in await compute.list():
            await compute.stop(status.compute_id, grace=0)
            await compute.forget(status.compute_id)
        await compute.close()

    @pytest.fixture
    async def exits(self, compute: Compute) -> AsyncIterator[Exits]:
        """What the backend tells of ends."""
        exits = Exits(compute)
        yield exits
        await exits.close()

    @pytest.fixture
    def request_factory(self, orders: Orders) -> Callable[..., ComputeRequest]:
        """Makes a request for a new build; keyword arguments replace its fields."""

        def make(**fields: Any) -> ComputeRequest:
            new = {
                "build_uuid": str(uuid4()),
                "attempt": 1,
                "endpoint": orders.endpoint,
                "token": uuid4().hex,
                "trusted": self.trusted,
            }
            return ComputeRequest(**{**new, **fields})

        return make

    @pytest.fixture
    async def run(
        self, compute: Compute, orders: Orders, request_factory: Callable[..., ComputeRequest]
    ) -> Run:
        """A run of a new build."""
        request = request_factory()
        compute_id = await compute.start(request)
        return Run(request=request, compute_id=compute_id, runner=await orders.caller(request))
