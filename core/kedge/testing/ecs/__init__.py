"""A small ECS control plane, held to the service model that botocore ships."""

from __future__ import annotations

from kedge.testing.ecs.control_plane import ControlPlane
from kedge.testing.ecs.server import EcsServer

__all__ = ["ControlPlane", "EcsServer"]
