"""Images that are pulled from a registry which wants to know who asks."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError
from requests import Response
from tests.docker_registry import PASSWORD, USER, Registry, forget
from tests.private_engine import PrivateEngine, run

from kedge import CapacityUnavailable, ConfigError, StartRefused
from kedge_docker import images
from kedge_docker.settings import DockerSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.backends.docker.conftest import Lab
    from tests.docker_engine import Engine


#: 20 Mbit/s
SLOWLY = ("tbf", "rate", "20mbit", "burst", "64kb", "latency", "400ms")


@pytest.fixture
def image(registry: Registry, engine: Engine) -> Iterator[str]:
    """One that the registry has, and the engine has not."""
    name = registry.push(engine.client, engine.stand_in, "kedge/stand-in:1")
    yield name
    forget(engine.client, name)


@pytest.fixture(autouse=True)
def passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_PASSWORD", PASSWORD)
    monkeypatch.setenv("WRONG_PASSWORD", "guess")


def settings_for(registry: Registry, reference: str = "env:REGISTRY_PASSWORD") -> dict[str, Any]:
    return {"pull": "missing", "registries": {registry.host: {"username": USER, "password": reference}}}


@pytest.mark.parametrize("warm", [0, 1])
async def test_an_image_is_pulled_with_the_credentials_of_its_registry(
    lab: Lab, registry: Registry, image: str, warm: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    await lab.open(image=image, warm=warm, **settings_for(registry))

    compute_id, _ = await lab.start(["wait"])

    container = lab.container(compute_id)
    assert container.attrs["Config"]["Image"] == image
    assert PASSWORD not in json.dumps(container.attrs)
    assert PASSWORD not in caplog.text


async def test_starts_that_wait_for_one_image_get_it_by_one_pull(
    lab: Lab, registry: Registry, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pulls: list[str] = []
    pull = images.Images._pull

    def counted(self: images.Images, image: str, api: Any) -> None:
        pulls.append(image)
        pull(self, image, api)

    monkeypatch.setattr(images.Images, "_pull", counted)
    await lab.open(image=image, **settings_for(registry))

    started = await asyncio.gather(*[lab.start(["wait"]) for _ in range(3)])

    assert len({compute_id for compute_id, _ in started}) == 3
    assert pulls == [image]


async def test_a_password_in_a_file_is_read_anew_for_each_pull(
    lab: Lab, registry: Registry, image: str
) -> None:
    file = lab.folder / "password"
    file.write_text("an older one")
    await lab.open(image=image, **settings_for(registry, f"file:{file}"))
    with pytest.raises(StartRefused):
        await lab.compute.start(lab.request())

    file.write_text(f"{PASSWORD}\n")

    await lab.start(["wait"])


@pytest.mark.parametrize(
    ("name", "reference", "said"),
    [
        ("kedge/stand-in:1", None, "no basic auth credentials"),
        ("kedge/stand-in:1", "env:WRONG_PASSWORD", "unauthorized"),
        ("kedge/stand-in:2", "env:REGISTRY_PASSWORD", "manifest unknown"),
        ("kedge/no-such:1", "env:REGISTRY_PASSWORD", "manifest unknown"),
        (f"kedge/stand-in@sha256:{'0' * 64}", "env:REGISTRY_PASSWORD", "manifest unknown"),
    ],
)
@pytest.mark.usefixtures("image")
async def test_a_pull_that_can_never_succeed_is_refused_for_good(
    lab: Lab, registry: Registry, *, name: str, reference: str | None, said: str
) -> None:
    settings = settings_for(registry, reference) if reference else {"pull": "missing"}
    await lab.open(image=f"{registry.host}/{name}", **settings)

    with pytest.raises(StartRefused, match=said) as refused:
        await lab.compute.start(lab.request())

    assert "[compute.docker.registries]" in str(refused.value)
    assert PASSWORD not in str(refused.value)
    assert lab.containers() == []


async def test_a_build_waits_for_a_registry_that_is_down(lab: Lab, registry: Registry, image: str) -> None:
    await lab.open(image=image, **settings_for(registry))
    registry.stop()
    try:
        with pytest.raises(CapacityUnavailable, match=r"cannot be pulled now .*connection refused"):
            await lab.compute.start(lab.request())
    finally:
        registry.start()

    await lab.start(["wait"])


async def test_a_build_waits_for_a_registry_that_dies_in_the_middle_of_a_pull(
    lab: Lab, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = Response.iter_lines

    def killing(response: Response, *args: Any) -> Iterator[bytes]:
        for line in lines(response, *args):
            yield line
            if b'"Downloading"' in line:
                registry.stop()

    with (
        # which else tries for a minute by itself
        PrivateEngine(engine, "--max-download-attempts=1") as machine,
        Registry(tmp_path / "registry", port=5000, inside=machine.inside) as registry,
    ):
        machine.copy(engine.stand_in)
        client = machine.client()
        image = registry.push(client, engine.stand_in, "kedge/stand-in:1")
        client.images.remove(engine.stand_in, force=True)
        client.close()
        # else all would be there before anybody can die
        run(*machine.inside("tc", "qdisc", "add", "dev", "lo", "root", *SLOWLY))
        await lab.open(engine=machine.url, image=image, **settings_for(registry))
        with monkeypatch.context() as patch:
            patch.setattr(Response, "iter_lines", killing)
            with pytest.raises(
                CapacityUnavailable, match=r"cannot be pulled now .*(EOF|reset by peer|refused)"
            ) as waits:
                await lab.compute.start(lab.request())
        assert PASSWORD not in str(waits.value)

        registry.start()
        run(*machine.inside("tc", "qdisc", "del", "dev", "lo", "root"))
        await lab.start(["wait"])
        await lab.close()
        await lab.open()


async def test_a_build_waits_for_a_registry_that_hangs_and_a_node_that_ends_does_not(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        await lab.open(image=f"127.0.0.1:{silent.getsockname()[1]}/x:1", pull="missing")
        monkeypatch.setattr(images, "SILENCE", 0.2)
        with pytest.raises(CapacityUnavailable, match="nothing has come of it for 0 s"):
            await lab.compute.start(lab.request())

        monkeypatch.setattr(images, "SILENCE", 60.0)
        start = asyncio.create_task(lab.compute.start(lab.request()))
        await asyncio.sleep(0)
        async with asyncio.timeout(10):
            await lab.compute.close()
        assert isinstance((await asyncio.gather(start, return_exceptions=True))[0], BaseException)
        await lab.open()


async def test_a_build_waits_for_a_password_whose_file_has_vanished_and_is_told_of_what_setting(
    lab: Lab, registry: Registry, image: str
) -> None:
    file = lab.folder / "password"
    file.write_text(PASSWORD)
    await lab.open(image=image, **settings_for(registry, f"file:{file}"))
    file.unlink()

    with pytest.raises(CapacityUnavailable) as waits:
        await lab.compute.start(lab.request())

    assert f'compute.docker.registries."{registry.host}".password: file:{file}' in str(waits.value)
    file.write_text(PASSWORD)
    await lab.start(["wait"])


async def test_a_password_that_is_not_there_is_a_mistake_of_the_config(lab: Lab, registry: Registry) -> None:
    with pytest.raises(ConfigError, match=rf"registries.*{registry.host}.*NO_SUCH"):
        await lab.open(**settings_for(registry, "env:NO_SUCH"))
    await lab.open()


@pytest.mark.parametrize("host", ["https://registry.example.com", "registry/kedge", "Registry", ""])
def test_a_registry_is_named_as_images_name_it(host: str) -> None:
    with pytest.raises(ValidationError, match="as images name it"):
        DockerSettings.model_validate({"registries": {host: {"username": "u", "password": "env:X"}}})
