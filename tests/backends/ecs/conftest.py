"""An ECS control plane whose tasks are containers of this machine's engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from kedge.testing.ecs import ControlPlane, EcsServer
from kedge.testing.ecs.runner import DockerRunner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.docker_engine import Engine

SUBNETS = {"subnets": ["subnet-1"], "security_groups": ["sg-1"]}


@pytest.fixture
def ecs(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[EcsServer]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    runner = DockerRunner(engine.client, uuid4().hex)
    plane = ControlPlane(runner)
    with EcsServer(plane) as server:
        yield server
        plane.close()
    runner.close()
    assert server.wrong_answers == []


def settings_for(ecs: EcsServer, **replaced: Any) -> dict[str, Any]:
    return {
        "cluster": "builds",
        "region": "eu-central-1",
        "endpoint": ecs.url,
        "network": SUBNETS,
        "untrusted_network": SUBNETS,
        "cpu": 256,
        "memory": "512 MiB",
        "stop_timeout": 2,
        "poll": "0.1 s",
        **replaced,
    }
