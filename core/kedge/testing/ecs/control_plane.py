"""Clusters, task definitions and tasks, as ECS tells of them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from kedge.testing.ecs.faults import Faults
from kedge.testing.ecs.refused import Refused, check_run
from kedge.testing.ecs.task import Task

if TYPE_CHECKING:
    from collections.abc import Callable

    from kedge.testing.ecs.runner import TaskRunner

PAGE = 100


class ControlPlane:
    """One account in one region. Its operations take and return what the service model says."""

    def __init__(self, runner: TaskRunner, *, cluster: str = "builds", region: str = "eu-central-1") -> None:
        """There is one cluster."""
        self.runner = runner
        self.cluster = cluster
        self.region = region
        self.faults = Faults()
        self.faults.may_run.set()
        #: the operations that were called, in order, with what they were given
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self._prefix = f"arn:aws:ecs:{region}:123456789012"
        self._lock = threading.RLock()
        self._definitions: dict[str, dict[str, Any]] = {}
        self._tags: dict[str, list[dict[str, str]]] = {}
        self._tasks: dict[str, Task] = {}
        self._tokens: dict[str, tuple[dict[str, Any], str]] = {}
        self._threads: list[threading.Thread] = []

    def call(self, operation: str, given: dict[str, Any]) -> dict[str, Any]:
        """Do one operation. Raises `Refused`."""
        with self._lock:
            self.calls.append((operation, given))
            if self.faults.errors[operation]:
                raise self.faults.errors[operation].popleft()
            done: Callable[[dict[str, Any]], dict[str, Any]] = getattr(self, f"_{operation}")
            return done(given)

    def tasks(self) -> list[Task]:
        """All that are known, stopped ones included."""
        with self._lock:
            return list(self._tasks.values())

    def reclaim(self, task_arn: str) -> None:
        """Take the capacity of a spot task away."""
        task = self._tasks[task_arn]
        task.ask_to_stop("SpotInterruption", "Your Spot Task was interrupted.")

    def forget_stopped(self) -> None:
        """Let an hour pass: ECS tells of stopped tasks no longer."""
        with self._lock:
            self._tasks = {arn: task for arn, task in self._tasks.items() if not task.is_stopped}

    def close(self) -> None:
        """End every task and wait for it."""
        self.faults.may_run.set()
        for task in self.tasks():
            task.ask_to_stop("UserInitiated", "the test is over", grace=0)
        for thread in self._threads:
            thread.join()

    def _check_cluster(self, given: dict[str, Any]) -> None:
        if given.get("cluster", "default").rpartition("/")[2] != self.cluster:
            raise Refused("ClusterNotFoundException", "Cluster not found.")

    def _DescribeClusters(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802  (the operation's name)
        found, failures = [], []
        for name in given.get("clusters", ["default"]):
            arn = f"{self._prefix}:cluster/{name}"
            if name.rpartition("/")[2] == self.cluster:
                found.append({"clusterArn": arn, "clusterName": self.cluster, "status": "ACTIVE"})
            else:
                failures.append({"arn": arn, "reason": "MISSING"})
        return {"clusters": found, "failures": failures}

    def _RegisterTaskDefinition(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        family = given["family"]
        revision = 1 + sum(one["family"] == family for one in self._definitions.values())
        arn = f"{self._prefix}:task-definition/{family}:{revision}"
        described = {name: value for name, value in given.items() if name != "tags"}
        described |= {"taskDefinitionArn": arn, "revision": revision, "status": "ACTIVE"}
        self._definitions[arn] = described
        self._tags[arn] = given.get("tags", [])
        return {"taskDefinition": described, "tags": self._tags[arn]}

    def _DescribeTaskDefinition(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        definition = self._definition(given["taskDefinition"])
        tags = self._tags[definition["taskDefinitionArn"]] if "TAGS" in given.get("include", []) else []
        return {"taskDefinition": definition, "tags": tags}

    def _DeregisterTaskDefinition(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        definition = self._definition(given["taskDefinition"])
        definition["status"] = "INACTIVE"
        return {"taskDefinition": definition}

    def _ListTaskDefinitions(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        wanted = given.get("status", "ACTIVE")
        arns = [
            arn
            for arn, one in self._definitions.items()
            if one["status"] == wanted and given.get("familyPrefix", one["family"]) == one["family"]
        ]
        arns.sort(key=lambda arn: int(arn.rpartition(":")[2]), reverse=given.get("sort") == "DESC")
        return self._page("taskDefinitionArns", arns, given)

    def _definition(self, name: str) -> dict[str, Any]:
        for arn, definition in self._definitions.items():
            if name in {arn, arn.rpartition("/")[2]}:
                return definition
        raise Refused("ClientException", "Unable to describe task definition.")

    def _RunTask(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        self._check_cluster(given)
        token = given.get("clientToken")
        if token in self._tokens:
            before, arn = self._tokens[token]
            if before != given:
                raise Refused("ConflictException", "The client token was used before.", resourceIds=[arn])
            return {"tasks": [self._tasks[arn].described(self._tags[arn])], "failures": []}
        definition = self._definition(given["taskDefinition"])
        if definition["status"] != "ACTIVE":
            raise Refused("ClientException", "TaskDefinition is inactive")
        self._check_network(definition, given)
        check_run(given)
        if self.faults.failures:
            where = f"{self._prefix}:container-instance/{uuid4()}"
            return {"tasks": [], "failures": [{"arn": where, "reason": self.faults.failures.popleft()}]}
        task = self._start(definition, given)
        if token is not None:
            self._tokens[token] = (given, task.arn)
        return {"tasks": [task.described(self._tags[task.arn])], "failures": []}

    def _check_network(self, definition: dict[str, Any], given: dict[str, Any]) -> None:
        if definition.get("networkMode") != "awsvpc":
            return
        network = given.get("networkConfiguration", {}).get("awsvpcConfiguration")
        if network is None:
            raise Refused(
                "InvalidParameterException",
                "Network Configuration must be provided when networkMode is awsvpc.",
            )
        for subnet in network["subnets"]:
            if not subnet.startswith("subnet-") or subnet == "subnet-missing":
                said = f"Error retrieving subnet information for [{subnet}]: The subnet ID does not exist"
                raise Refused("InvalidParameterException", said)

    def _start(self, definition: dict[str, Any], given: dict[str, Any]) -> Task:
        arn = f"{self._prefix}:task/{self.cluster}/{uuid4().hex}"
        cluster = f"{self._prefix}:cluster/{self.cluster}"
        task = Task(arn, cluster, definition, given, runner=self.runner, faults=self.faults)
        self._tasks[arn] = task
        self._tags[arn] = given.get("tags", [])
        thread = threading.Thread(target=task.live, name=f"ecs-{arn[-8:]}", daemon=True)
        self._threads.append(thread)
        thread.start()
        return task

    def _StopTask(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        self._check_cluster(given)
        task = self._tasks.get(given["task"])
        if task is None:
            raise Refused("InvalidParameterException", "The referenced task was not found.")
        task.ask_to_stop("UserInitiated", given.get("reason", "Task stopped by user"))
        return {"task": task.described(self._tags[task.arn])}

    def _DescribeTasks(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        self._check_cluster(given)
        if len(given["tasks"]) > PAGE:
            raise Refused("InvalidParameterException", "Tasks cannot have more than 100 elements.")
        tags = "TAGS" in given.get("include", [])
        tasks, failures = [], []
        for arn in given["tasks"]:
            if arn in self._tasks:
                tasks.append(self._tasks[arn].described(self._tags[arn] if tags else []))
            else:
                failures.append({"arn": arn, "reason": "MISSING"})
        return {"tasks": tasks, "failures": failures}

    def _ListTasks(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        self._check_cluster(given)
        wanted = given.get("desiredStatus", "RUNNING")
        arns = [
            arn
            for arn, task in self._tasks.items()
            if task.desired == wanted
            and given.get("family", task.family) == task.family
            and not (self.faults.lists_lag and not task.is_stopped)
        ]
        return self._page("taskArns", arns, given)

    def _TagResource(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        new = {tag["key"] for tag in given["tags"]}
        kept = [tag for tag in self._tags_of(given) if tag["key"] not in new]
        self._tags[given["resourceArn"]] = kept + given["tags"]
        return {}

    def _ListTagsForResource(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"tags": self._tags_of(given)}

    def _tags_of(self, given: dict[str, Any]) -> list[dict[str, str]]:
        if given["resourceArn"] not in self._tags:
            raise Refused("InvalidParameterException", "The specified resource was not found.")
        return self._tags[given["resourceArn"]]

    def _page(self, name: str, arns: list[str], given: dict[str, Any]) -> dict[str, Any]:
        start = int(given.get("nextToken", "0"))
        end = start + min(given.get("maxResults", PAGE), PAGE)
        more = {"nextToken": str(end)} if end < len(arns) else {}
        return {name: arns[start:end], **more}
