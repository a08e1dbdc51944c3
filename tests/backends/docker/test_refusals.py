"""Starts that cannot work, and what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from kedge import CapacityUnavailable, ComputeState, StartRefused
from kedge_docker.settings import DockerSettings

if TYPE_CHECKING:
    from pathlib import Path

    from tests.backends.docker.conftest import Lab


async def test_a_missing_image_is_named_with_what_to_do_and_leaves_nothing(lab: Lab) -> None:
    await lab.open(image="kedge-testing/no-such-image:1")

    with pytest.raises(
        StartRefused, match=r"no-such-image:1; build it there .*configs/build-image/Dockerfile"
    ):
        await lab.compute.start(lab.request())

    assert lab.containers() == []
    assert await lab.compute.list() == []


async def test_an_image_without_python_says_what_it_lacks(lab: Lab) -> None:
    tag = f"{lab.engine.stand_in.partition(':')[0]}-empty"
    client = lab.engine.client
    client.api.import_image_from_data(b"\0" * 1024, repository=tag, tag="1")
    try:
        await lab.open(image=f"{tag}:1")
        status = await lab.exits.of(await lab.compute.start(lab.request()))
    finally:
        client.images.remove(f"{tag}:1", force=True)

    assert status.exit_code == 127
    assert "python3" in status.detail


async def test_a_network_that_is_not_there_is_refused(lab: Lab) -> None:
    await lab.open(untrusted_network="kedge-testing-no-such-network")

    with pytest.raises(StartRefused, match="no-such-network"):
        await lab.compute.start(lab.request())


async def test_an_engine_that_is_not_there_makes_builds_wait(lab: Lab, tmp_path: Path) -> None:
    await lab.open(engine=f"unix://{tmp_path}/no.sock", warm=1)

    with pytest.raises(CapacityUnavailable, match=r"no\.sock does not answer"):
        await lab.compute.start(lab.request())
    with pytest.raises(CapacityUnavailable):
        await lab.compute.list()
    assert (await lab.compute.inspect("0" * 64)).state is ComputeState.GONE


async def test_an_address_that_containers_cannot_reach_is_refused(lab: Lab) -> None:
    await lab.open()

    with pytest.raises(StartRefused, match=r"server\.public_url"):
        await lab.compute.start(lab.request(endpoint="http://127.0.0.1:8787"))


async def test_a_container_of_another_that_has_the_name_is_left_alone(lab: Lab) -> None:
    await lab.open()
    request = lab.request()
    name = f"kedge-{request.build_uuid}-1"
    theirs = lab.engine.client.containers.create(lab.engine.stand_in, "true", name=name)
    try:
        with pytest.raises(StartRefused, match="is in the way; remove it"):
            await lab.compute.start(request)
        theirs.reload()
        assert theirs.status == "created"
    finally:
        theirs.remove()


async def test_an_id_that_is_none_never_reaches_the_engine(lab: Lab) -> None:
    await lab.open()
    for build_uuid in ("", "../x", "a b", "x" * 200, "a\nb"):
        with pytest.raises(StartRefused, match="is not the id of a build"):
            await lab.compute.start(lab.request(build_uuid=build_uuid))


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"engine": "tcp://10.0.0.5:2376"}, "tls"),
        ({"engine": "http://localhost:2375"}, "unix:///path"),
        ({"engine": "/var/run/docker.sock"}, "unix:///path"),
        ({"network": "host"}, "every listener"),
        ({"untrusted_network": "host"}, "every listener"),
        ({"workspace": "memory"}, "set disk"),
        ({"user": "root"}, "user"),
        ({"memory": "1 KiB"}, "memory"),
        ({"tls": {"ca": "a", "cert": "b", "key": "c"}}, "tcp://"),
        ({"pull": "always"}, "never"),
        ({"privileged": True}, "privileged"),
    ],
)
def test_a_mistake_in_the_settings_is_told(settings: dict[str, Any], word: str) -> None:
    with pytest.raises(ValidationError, match=word):
        DockerSettings.model_validate(settings)
