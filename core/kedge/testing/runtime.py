"""What every runtime promises, as tests."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import pytest

from kedge.contracts.compute import ExitCause
from kedge.contracts.runtime import UNIX, InstanceKind, InstanceRequest, Runtime
from kedge.errors import StartRefused
from kedge.testing.descriptors import open_descriptors
from kedge.workers.probes import wait_until_up

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from kedge.contracts.runtime import Instance

#: the folder that instances of the suite are given
STAND_IN = Path(__file__).parent / "stand_in_worker"
PATIENCE = 60.0


async def ask(instance: Instance, order: str, **query: str) -> Any:
    """Give the stand-in an order; return its answer."""
    unix = instance.address.startswith(UNIX)
    transport = httpx.AsyncHTTPTransport(uds=instance.address.removeprefix(UNIX) if unix else None)
    base_url = "http://localhost" if unix else f"http://{instance.address}"
    async with httpx.AsyncClient(transport=transport, base_url=base_url, timeout=PATIENCE) as client:
        response = await client.get(order, params=query)
    assert response.status_code == 200
    return response.json()


async def read_until(instance: Instance, text: bytes) -> bytes:
    """What the instance prints, until `text` is in it or it has ended."""
    seen = b""
    async with asyncio.timeout(PATIENCE):
        async for data in instance.output():
            seen += data
            if text in seen:
                break
    return seen


def is_there(pid: int) -> bool:
    """Whether a process of that number runs on this machine."""
    return Path(f"/proc/{pid}").exists()


class RuntimeSuite:
    """Subclass it as `class TestMine(RuntimeSuite)` and give the fixture `make_runtime`."""

    #: whether instances are processes that this machine can see, by the numbers that they tell
    sees_processes = True
    #: whether an instance that writes to its folder is refused
    walls = False

    @pytest.fixture
    def make_runtime(self) -> Callable[[], Runtime]:
        """Returns a new runtime, not yet open, over the same place each time: a node that restarts."""
        raise NotImplementedError

    @pytest.fixture
    def running(self) -> Callable[[], int]:
        """Tells how many instances there are in that place, by looking there, not by asking the runtime."""
        raise NotImplementedError

    @pytest.fixture
    async def runtime(self, make_runtime: Callable[[], Runtime]) -> AsyncIterator[Runtime]:
        """The runtime under test, open."""
        runtime = make_runtime()
        await runtime.open()
        yield runtime
        await runtime.close()

    @pytest.fixture
    def request_factory(self) -> Callable[..., InstanceRequest]:
        """Makes a request for a new instance of the stand-in; keyword arguments replace its fields."""

        def make(**fields: Any) -> InstanceRequest:
            new = {
                "instance_id": uuid4().hex[:12],
                "account_id": uuid4().hex,
                "worker": "stand-in",
                "version_id": str(uuid4()),
                "kind": InstanceKind.COMMAND,
                "entry": ("python3", "-u", "worker.py"),
                "files": STAND_IN,
            }
            return InstanceRequest(**{**new, **fields})

        return make

    @pytest.fixture
    def start(self, runtime: Runtime, request_factory: Callable[..., InstanceRequest]) -> Callable[..., Any]:
        """Starts an instance of the stand-in and waits until it is up."""

        async def start(**fields: Any) -> Instance:
            instance = await runtime.start(request_factory(**fields))
            await wait_until_up(instance, None, timeout=PATIENCE)
            return instance

        return start

    def test_it_is_a_runtime_with_a_name_and_frozen_settings(
        self, make_runtime: Callable[[], Runtime]
    ) -> None:
        runtime = make_runtime()
        assert isinstance(runtime, Runtime)
        assert re.fullmatch(r"[a-z][a-z0-9_-]*", runtime.name)
        assert runtime.Settings.model_config.get("frozen") is True
        assert runtime.Settings.model_config.get("extra") == "forbid"
        assert runtime.kinds

    async def test_an_instance_answers_at_its_address(self, start: Callable[..., Any]) -> None:
        instance = await start(instance_id="first-1")
        assert await ask(instance, "/") == "up"
        assert instance.instance_id == "first-1"

    async def test_it_has_its_variables_secrets_and_port_and_nothing_of_the_nodes(
        self, start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OF_THE_NODE", "leaked")
        instance = await start(
            variables={"COLOUR": "red"}, secrets={"KEY": "s3cret"}, egress={"HTTPS_PROXY": "http://p"}
        )
        environment = await ask(instance, "/environment")
        found = {name: environment.get(name) for name in ("COLOUR", "KEY", "HTTPS_PROXY", "OF_THE_NODE")}
        assert found == {"COLOUR": "red", "KEY": "s3cret", "HTTPS_PROXY": "http://p", "OF_THE_NODE": None}
        assert environment["PORT"].isdecimal()
        assert not any("s3cret" in argument for argument in await ask(instance, "/arguments"))

    async def test_a_request_prints_itself_without_its_secrets(
        self, request_factory: Callable[..., InstanceRequest]
    ) -> None:
        request = request_factory(secrets={"KEY": "s3cret"}, egress={"HTTPS_PROXY": "http://u:s3cret@p"})
        assert "s3cret" not in repr(request)

    async def test_it_finds_its_files_where_it_starts(self, start: Callable[..., Any]) -> None:
        instance = await start()
        assert "ORDERS" in await ask(instance, "/read", path="worker.py")
        if self.walls:
            assert await ask(instance, "/write", path="worker.py") != "written"

    async def test_what_it_prints_comes_in_order_and_ends_with_it(self, start: Callable[..., Any]) -> None:
        instance = await start()
        for number in range(5):
            await ask(instance, "/print", text=f"line {number}\n")
        reading = asyncio.create_task(read_until(instance, b"never printed"))
        with pytest.raises(httpx.HTTPError):
            await ask(instance, "/exit", code="0")
        expected = b"listening\n" + b"".join(b"line %d\n" % number for number in range(5))
        assert expected in await reading

    async def test_more_output_than_any_buffer_holds_comes_whole(self, start: Callable[..., Any]) -> None:
        instance = await start()
        reading = asyncio.create_task(read_until(instance, b"the end"))
        await ask(instance, "/print", text="x" * 1000, times="2000")
        await ask(instance, "/print", text="the end")
        assert (await reading).count(b"x") == 2_000_000

    async def test_its_own_end_is_told_with_its_code(self, start: Callable[..., Any]) -> None:
        instance = await start()
        with pytest.raises(httpx.HTTPError):
            await ask(instance, "/exit", code="3")
        async with asyncio.timeout(PATIENCE):
            ended = await instance.exited()
        assert (ended.cause, ended.exit_code) == (ExitCause.SELF, 3)
        assert await instance.exited() == ended

    async def test_one_that_is_asked_to_end_may_do_so_by_itself(self, start: Callable[..., Any]) -> None:
        instance = await start()
        async with asyncio.timeout(PATIENCE):
            ended = await instance.stop(grace=PATIENCE)
        assert ended.cause is ExitCause.STOPPED
        assert await instance.stop(grace=0) == ended

    async def test_one_that_does_not_listen_is_killed_after_its_grace(
        self, start: Callable[..., Any]
    ) -> None:
        instance = await start()
        await ask(instance, "/deaf")
        async with asyncio.timeout(PATIENCE):
            both = await asyncio.gather(instance.stop(grace=0.2), instance.stop(grace=0.2))
        assert {ended.cause for ended in both} == {ExitCause.STOPPED}

    async def test_nothing_that_it_started_outlives_it(self, start: Callable[..., Any]) -> None:
        if not self.sees_processes:
            pytest.skip("its processes are not this machine's to see")
        instance = await start()
        child = await ask(instance, "/child")
        assert is_there(child)
        await instance.stop(grace=0)
        assert not is_there(child)

    async def test_a_program_that_is_not_there_is_told_in_its_output(
        self, runtime: Runtime, request_factory: Callable[..., InstanceRequest]
    ) -> None:
        instance = await runtime.start(request_factory(entry=("no-such-program", "--now")))
        assert b"no-such-program" in await read_until(instance, b"no-such-program")
        async with asyncio.timeout(PATIENCE):
            ended = await instance.exited()
        assert ended.cause is not ExitCause.STOPPED
        assert ended.exit_code

    async def test_a_kind_that_it_cannot_run_is_refused(
        self, runtime: Runtime, request_factory: Callable[..., InstanceRequest]
    ) -> None:
        for kind in set(InstanceKind) - runtime.kinds:
            with pytest.raises(StartRefused, match=kind.value):
                await runtime.start(request_factory(kind=kind))

    async def test_a_start_that_is_given_up_leaves_nothing(
        self,
        make_runtime: Callable[[], Runtime],
        request_factory: Callable[..., InstanceRequest],
        running: Callable[[], int],
    ) -> None:
        for turns in (1, 2, 4, 8, 50):
            runtime = make_runtime()
            await runtime.open()
            starting = asyncio.create_task(self._started(runtime, request_factory()))
            for _ in range(turns):
                await asyncio.sleep(0)
            starting.cancel()
            await asyncio.wait((starting,))
            async with asyncio.timeout(PATIENCE):
                await runtime.close()
            assert running() == 0

    async def _started(self, runtime: Runtime, request: InstanceRequest) -> Instance:
        return await runtime.start(request)

    async def test_instances_do_not_share_an_address(self, start: Callable[..., Any]) -> None:
        instances = await asyncio.gather(*[start() for _ in range(3)])
        assert len({instance.address for instance in instances}) == 3

    async def test_closing_ends_everything(
        self, make_runtime: Callable[[], Runtime], request_factory: Callable[..., InstanceRequest]
    ) -> None:
        runtime = make_runtime()
        await runtime.open()
        instance = await runtime.start(request_factory())
        await wait_until_up(instance, None, timeout=PATIENCE)
        await runtime.close()
        assert (await instance.exited()).cause is ExitCause.STOPPED

    async def test_a_node_that_starts_again_ends_what_was_left(
        self, make_runtime: Callable[[], Runtime], start: Callable[..., Any]
    ) -> None:
        instance = await start()
        after = make_runtime()
        await after.open()
        try:
            async with asyncio.timeout(PATIENCE):
                await instance.exited()
        finally:
            await after.close()

    async def test_what_it_opens_for_an_instance_it_closes(self, start: Callable[..., Any]) -> None:
        async def run_one() -> None:
            instance = await start()
            reading = asyncio.create_task(read_until(instance, b"never printed"))
            await instance.stop(grace=0)
            await reading

        for _ in range(3):
            await run_one()
        before = open_descriptors()
        for _ in range(6):
            await run_one()
        # a pool of connections may still grow, but not by one for each instance
        assert open_descriptors() < before + 6
