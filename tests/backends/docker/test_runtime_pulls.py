"""Images of workers, pulled from a registry which wants to know who asks."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from tests.backends.docker.test_runtime import mine
from tests.docker_registry import PASSWORD, USER, forget

from kedge import CapacityUnavailable, ConfigError, InstanceKind, InstanceRequest, StartRefused
from kedge.testing.fake_host import FakeHost
from kedge.testing.runtime import STAND_IN, read_until
from kedge_docker.runtime import DockerRuntime
from kedge_docker.runtime_settings import DockerRuntimeSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    from tests.docker_engine import Engine
    from tests.docker_registry import Registry

    Open = Callable[..., Awaitable[DockerRuntime]]


IN_ENVIRONMENT = "env:REGISTRY_PASSWORD"


@pytest.fixture
def image(registry: Registry, engine: Engine) -> Iterator[str]:
    """One that the registry has, and the engine has not."""
    name = registry.push(engine.client, engine.image, "team/worker:1")
    yield name
    forget(engine.client, name)


@pytest.fixture
async def open_runtime(
    tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Open]:
    monkeypatch.setenv("REGISTRY_PASSWORD", PASSWORD)
    opened: list[DockerRuntime] = []

    async def open_one(reference: str = IN_ENVIRONMENT, **settings: Any) -> DockerRuntime:
        registries = {registry.host: {"username": USER, "password": reference}}
        chosen = {"memory": "128 MiB", "pull": "missing", "registries": registries, **settings}
        runtime = DockerRuntime(DockerRuntimeSettings.model_validate(chosen), FakeHost(tmp_path))
        await runtime.open()
        opened.append(runtime)
        return runtime

    yield open_one
    for runtime in opened:
        await runtime.close()


def request_for(image: str | None, **fields: Any) -> InstanceRequest:
    code = (STAND_IN / "worker.py").read_text()
    new = {"instance_id": uuid4().hex[:12], "account_id": "a", "worker": "app", "version_id": "v"}
    entry = ("python3", "-u", "-c", code)
    return InstanceRequest(**{"kind": InstanceKind.IMAGE, "image": image, "entry": entry, **new, **fields})


async def test_the_image_of_a_worker_is_pulled_with_the_credentials_of_its_registry(
    open_runtime: Open, image: str, engine: Engine, tmp_path: Path
) -> None:
    runtime = await open_runtime()

    both = await asyncio.gather(*[runtime.start(request_for(image)) for _ in range(2)])

    for instance in both:
        assert b"listening" in await read_until(instance, b"listening")
    assert PASSWORD not in json.dumps([container.attrs for container in mine(engine, tmp_path)])


async def test_what_is_deployed_may_run_in_an_image_that_is_pulled(
    open_runtime: Open, image: str, engine: Engine
) -> None:
    runtime = await open_runtime(image=image)

    instance = await runtime.start(request_for(None, kind=InstanceKind.COMMAND))

    assert b"listening" in await read_until(instance, b"listening")


async def test_nothing_is_pulled_unless_the_config_says_so(open_runtime: Open, image: str) -> None:
    runtime = await open_runtime(pull="never")

    with pytest.raises(StartRefused, match=r'no image .*set runtime\.docker\.pull = "missing"'):
        await runtime.start(request_for(image))


@pytest.mark.parametrize(("name", "password"), [("worker:1", "guess"), ("no-such:1", PASSWORD)])
async def test_an_image_that_can_never_be_pulled_is_refused_for_good(
    *, open_runtime: Open, image: str, registry: Registry, tmp_path: Path, name: str, password: str
) -> None:
    (tmp_path / "password").write_text(password)
    runtime = await open_runtime(f"file:{tmp_path}/password")

    with pytest.raises(StartRefused, match=r"\[runtime\.docker\.registries\]") as refused:
        await runtime.start(request_for(f"{registry.host}/team/{name}"))

    assert password not in str(refused.value)


async def test_a_registry_that_is_down_and_a_password_that_has_vanished_may_be_back_later(
    open_runtime: Open, image: str, registry: Registry, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.write_text(PASSWORD)
    runtime = await open_runtime(f"file:{file}")
    registry.stop()
    with pytest.raises(CapacityUnavailable, match=r"cannot be pulled now .*connection refused"):
        await runtime.start(request_for(image))
    registry.start()
    file.unlink()
    place = f'runtime.docker.registries."{registry.host}".password: file:{file}'
    with pytest.raises(CapacityUnavailable) as waits:
        await runtime.start(request_for(image))
    assert place in str(waits.value)

    file.write_text(PASSWORD)

    await runtime.start(request_for(image))


async def test_a_start_that_is_given_up_while_its_image_comes_leaves_nothing(
    open_runtime: Open, engine: Engine, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        runtime = await open_runtime()
        image = f"127.0.0.1:{silent.getsockname()[1]}/x:1"
        given_up = asyncio.create_task(runtime.start(request_for(image, secrets={"KEY": "x"})))
        waiting = asyncio.create_task(runtime.start(request_for(image)))
        engine_side, _ = await asyncio.to_thread(silent.accept)
        given_up.cancel()

        async with asyncio.timeout(30):
            await runtime.close()

        with pytest.raises(asyncio.CancelledError):
            await given_up
        with pytest.raises(CapacityUnavailable, match="this node is stopping"):
            await waiting
        engine_side.close()
    assert mine(engine, tmp_path) == []
    assert list((tmp_path / "docker" / "secrets").iterdir()) == []
    await open_runtime()


async def test_a_password_that_is_not_there_is_a_mistake_of_the_config(
    open_runtime: Open, registry: Registry
) -> None:
    place = rf'runtime\.docker\.registries\."{registry.host}"\.password: .*NO_SUCH'

    with pytest.raises(ConfigError, match=place):
        await open_runtime("env:NO_SUCH")
