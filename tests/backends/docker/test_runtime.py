"""The runtime `docker` keeps the contract, with walls, and shows no secret."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from kedge import InstanceKind, StartRefused
from kedge.testing.fake_host import FakeHost
from kedge.testing.runtime import STAND_IN, RuntimeSuite, ask, read_until
from kedge_docker.runtime import OWNER, DockerRuntime
from kedge_docker.runtime_settings import DockerRuntimeSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.docker_engine import Engine


class TestDockerRuntime(RuntimeSuite):
    sees_processes = False
    walls = True

    @pytest.fixture
    def make_runtime(self, engine: Engine, tmp_path: Path) -> Iterator[Callable[[], DockerRuntime]]:
        settings = DockerRuntimeSettings.model_validate({"image": engine.image, "memory": "128 MiB"})
        yield lambda: DockerRuntime(settings, FakeHost(tmp_path))
        for container in mine(engine, tmp_path):
            container.remove(v=True, force=True)

    @pytest.fixture
    def running(self, engine: Engine, tmp_path: Path) -> Callable[[], int]:
        return lambda: len(mine(engine, tmp_path))

    async def test_an_image_runs_its_own_program_and_reads_secrets_as_files(
        self, engine: Engine, tmp_path: Path, start: Callable[..., Any]
    ) -> None:
        code = (STAND_IN / "worker.py").read_text()
        instance = await start(
            kind=InstanceKind.IMAGE,
            image=engine.image,
            entry=("python3", "-u", "-c", code),
            files=None,
            variables={"COLOUR": "red"},
            secrets={"KEY": "s3cret"},
        )
        assert await ask(instance, "/read", path="/run/secrets/KEY") == "s3cret"
        environment = await ask(instance, "/environment")
        assert (environment["COLOUR"], environment.get("KEY")) == ("red", None)
        assert "s3cret" not in description(engine, tmp_path)
        await instance.stop(grace=0)
        assert not list((tmp_path / "docker" / "secrets").iterdir())

    async def test_no_description_of_a_container_holds_a_secret(
        self, engine: Engine, tmp_path: Path, start: Callable[..., Any]
    ) -> None:
        instance = await start(secrets={"KEY": "s3cret"}, egress={"HTTPS_PROXY": "http://u:s3cret@p"})
        assert (await ask(instance, "/environment"))["KEY"] == "s3cret"
        assert "s3cret" not in description(engine, tmp_path)

    async def test_an_image_that_the_engine_does_not_have_is_named(
        self, runtime: DockerRuntime, request_factory: Callable[..., Any]
    ) -> None:
        with pytest.raises(StartRefused, match="no image kedge-testing/none-such"):
            await runtime.start(
                request_factory(
                    kind=InstanceKind.IMAGE, image="kedge-testing/none-such", files=None, entry=()
                )
            )

    async def test_what_a_container_may_use_is_limited(
        self, engine: Engine, tmp_path: Path, start: Callable[..., Any]
    ) -> None:
        instance = await start()
        [container] = mine(engine, tmp_path)
        limits = container.attrs["HostConfig"]
        assert limits["CapDrop"] == ["ALL"]
        assert limits["ReadonlyRootfs"]
        assert limits["Memory"] == limits["MemorySwap"] == 128 * 1024**2
        assert "no-new-privileges" in limits["SecurityOpt"]
        await instance.stop(grace=0)
        assert not mine(engine, tmp_path)

    async def test_output_is_read_from_its_first_byte(self, start: Callable[..., Any]) -> None:
        instance = await start()
        assert (await read_until(instance, b"listening")).startswith(b"listening")


def mine(engine: Engine, data_dir: Path) -> list[Any]:
    file = data_dir / "docker" / "instances-owner"
    if not file.exists():
        return []
    label = f"{OWNER}={file.read_text().strip()}"
    return list(engine.client.containers.list(all=True, filters={"label": label}))


def description(engine: Engine, data_dir: Path) -> str:
    [container] = mine(engine, data_dir)
    return json.dumps(container.attrs)
