"""Tasks: run, stop, list and describe."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import TYPE_CHECKING, Any

from kedge import StartRefused
from kedge_ecs.attempt import ATTEMPT, BUILD, STOPPED_BY_KEDGE
from kedge_ecs.definitions import CONTAINER, WORKSPACE, Definitions
from kedge_ecs.service import translate_failure

if TYPE_CHECKING:
    from kedge import ComputeRequest
    from kedge_ecs.service import Service
    from kedge_ecs.settings import EcsSettings, NetworkSettings, PlaceSettings

#: the most that one call describes
BATCH = 100


class Tasks:
    """Those of one family in one cluster."""

    def __init__(self, service: Service, settings: EcsSettings, place: PlaceSettings) -> None:
        """Ask for nothing yet."""
        self._service = service
        self._settings = settings
        self._place = place
        self._definitions = Definitions(service, settings)

    def may_hold(self, arn: str) -> bool:
        """Whether a task of this ARN would be one of these."""
        _, _, _, region, _, name = arn.split(":", 5)
        cluster = name.split("/")[1:-1]
        return region == self._service.region and cluster in ([], [self._place.cluster.rpartition("/")[2]])

    async def run(self, request: ComputeRequest, endpoint: str) -> dict[str, Any]:
        """Start one, or get the one that was started for this attempt before."""
        network = self._network(request)
        definition = await self._definitions.arn_for(request)
        try:
            answer = await self._service.call(
                "run_task", **self._order(request, endpoint, network, definition)
            )
        except StartRefused:
            self._definitions.doubt()
            raise
        for failure in answer.get("failures", []):
            raise translate_failure(failure)
        task: dict[str, Any] = answer["tasks"][0]
        return task

    async def stop(self, arn: str) -> None:
        """Ask for its end."""
        await self._service.call("stop_task", cluster=self._place.cluster, task=arn, reason=STOPPED_BY_KEDGE)

    async def all(self) -> list[dict[str, Any]]:
        """All that ECS tells of, stopped ones of the last hour included, with their tags."""
        found = await asyncio.gather(self._arns("RUNNING"), self._arns("STOPPED"))
        return await self.describe(sorted({arn for arns in found for arn in arns}))

    async def describe(self, arns: list[str]) -> list[dict[str, Any]]:
        """Those of `arns` that ECS knows; a hundred at a call."""
        batches = [arns[start : start + BATCH] for start in range(0, len(arns), BATCH)]
        answers = await asyncio.gather(*[self._describe(batch) for batch in batches])
        return [task for answer in answers for task in answer["tasks"]]

    async def _describe(self, arns: list[str]) -> dict[str, Any]:
        return await self._service.call(
            "describe_tasks", cluster=self._place.cluster, tasks=arns, include=["TAGS"]
        )

    async def _arns(self, status: str) -> list[str]:
        arns: list[str] = []
        more: dict[str, str] = {}
        while True:
            page = await self._service.call(
                "list_tasks",
                cluster=self._place.cluster,
                family=self._settings.family,
                desiredStatus=status,
                **more,
            )
            arns += page["taskArns"]
            if not page.get("nextToken"):
                return arns
            more = {"nextToken": page["nextToken"]}

    def _order(
        self, request: ComputeRequest, endpoint: str, network: NetworkSettings, definition: str
    ) -> dict[str, Any]:
        settings = self._settings
        name = f"{settings.family}/{request.build_uuid}/{request.attempt}"
        tags = {**request.labels, BUILD: request.build_uuid, ATTEMPT: str(request.attempt)}
        order: dict[str, Any] = {
            "cluster": self._place.cluster,
            "taskDefinition": definition,
            "count": 1,
            "startedBy": "kedge",
            "clientToken": hashlib.sha256(name.encode()).hexdigest(),
            "tags": [{"key": key, "value": value} for key, value in sorted(tags.items())],
            "overrides": {"containerOverrides": [_overrides(request, endpoint)]},
            "networkConfiguration": {"awsvpcConfiguration": _awsvpc(network, settings.launch_type)},
        }
        if settings.capacity_providers:
            order["capacityProviderStrategy"] = [
                {"capacityProvider": one, "weight": 1} for one in settings.capacity_providers
            ]
        else:
            order["launchType"] = settings.launch_type
        return order

    def _network(self, request: ComputeRequest) -> NetworkSettings:
        network = self._place.network if request.trusted else self._place.untrusted_network
        if network is not None:
            return network
        table = "network" if request.trusted else "untrusted_network"
        who = "builds" if request.trusted else "builds of code from outside"
        raise StartRefused(f"{who} have no network to run in; give [compute.ecs.{table}] its subnets")


def _overrides(request: ComputeRequest, endpoint: str) -> dict[str, Any]:
    """What is told of this attempt alone: where Kedge is, and a token that is good for nothing else."""
    assignment = request.assignment(WORKSPACE, endpoint=endpoint)
    variable = {"name": "KEDGE_ASSIGNMENT", "value": json.dumps(assignment, sort_keys=True)}
    return {"name": CONTAINER, "environment": [variable]}


def _awsvpc(network: NetworkSettings, launch_type: str) -> dict[str, Any]:
    configuration: dict[str, Any] = {"subnets": list(network.subnets)}
    if network.security_groups:
        configuration["securityGroups"] = list(network.security_groups)
    if launch_type == "FARGATE":
        configuration["assignPublicIp"] = "ENABLED" if network.public_ip else "DISABLED"
    return configuration
