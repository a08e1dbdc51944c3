"""One attempt as this backend knows it, and what ECS tells of its task."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from kedge import (
    AttemptName,
    ComputeState,
    ComputeStatus,
    Ending,
    ExitCause,
    StartedAttempt,
    pull_is_hopeless,
)

BUILD, ATTEMPT = "kedge.build", "kedge.attempt"
#: the reason by which any node knows that a stop was Kedge's own
STOPPED_BY_KEDGE = "Stopped by Kedge"
ARN = re.compile(r"arn:aws[a-z-]*:ecs:[a-z0-9-]+:[0-9]{12}:task/[0-9A-Za-z_/-]{1,300}", re.ASCII)
WAITING = frozenset({"PROVISIONING", "PENDING", "ACTIVATING"})
TAKEN_AWAY = {
    "SpotInterruption": "its spot capacity was reclaimed",
    "TerminationNotice": "its machine was taken away",
    "TaskFailedToStart": "its task could not start",
    "UserInitiated": "its task was stopped by someone else",
    "ServiceSchedulerInitiated": "its task was stopped by ECS",
    "InfrastructureHealth": "its machine is not well",
}
#: how ECS begins to tell of a task that it could not even prepare
UNPREPARED = {
    "CannotPull": "its image cannot be pulled",
    "ResourceInitializationError": "its task cannot be prepared",
}
CHECK = "check compute.ecs.image, execution_role and registry_credentials"
FULL = ("Capacity is unavailable", "RESOURCE:")


@dataclass(kw_only=True, eq=False)
class Attempt(StartedAttempt):
    """A task with its runner."""

    #: monotonic: a task that has just been started may not be told of yet
    since: float

    def learn(self, task: dict[str, Any]) -> ComputeStatus | None:
        """Take in what DescribeTasks tells. Its end, if that is new."""
        last = task["lastStatus"]
        if self.end is not None:
            return None
        if last not in {"STOPPED", "DELETED"}:
            self.state = ComputeState.STARTING if last in WAITING else ComputeState.RUNNING
            return None
        ending = verdict(task, next(iter(task.get("containers", [])), {}))
        self.stopped = self.stopped or ending.cause is ExitCause.STOPPED
        return self.finish(ending)

    def lose(self) -> ComputeStatus | None:
        """ECS tells of its task no longer. Its end, if that is new."""
        cause = ExitCause.STOPPED if self.stopping else ExitCause.INFRASTRUCTURE
        return self.finish(Ending(cause=cause, detail="ECS does not know its task any more"))


def verdict(task: dict[str, Any], container: dict[str, Any]) -> Ending:
    """Why a stopped task ended."""
    stop, said = task.get("stopCode", ""), task.get("stoppedReason", "")
    code, why = container.get("exitCode"), container.get("reason", "")
    if stop == "UserInitiated" and said == STOPPED_BY_KEDGE:
        return Ending(cause=ExitCause.STOPPED, exit_code=code)
    if why.startswith("OutOfMemory") or said.startswith("OutOfMemory"):
        detail = "its processes hit the memory limit"
        return Ending(cause=ExitCause.OUT_OF_MEMORY, detail=detail, exit_code=code)
    if code is None and (never := _never_ran(why) or _never_ran(said)):
        return never
    taken = "" if code is not None else f"its container did not run: {why or said}"
    if stop in TAKEN_AWAY:
        taken = f"{TAKEN_AWAY[stop]}: {said or why}"
    if taken or code is None:
        return Ending(cause=ExitCause.INFRASTRUCTURE, detail=taken, exit_code=code)
    return Ending.of_code(code)


def _never_ran(said: str) -> Ending | None:
    """What it means that ECS could not prepare a task; None if that is not what it says."""
    for beginning, told in UNPREPARED.items():
        if said.startswith(beginning) and pull_is_hopeless(said):
            return Ending(cause=ExitCause.REFUSED, detail=f"{told}, {CHECK}: {said}")
        if said.startswith(beginning):
            return Ending(cause=ExitCause.UNAVAILABLE, detail=f"{told} now: {said}")
    if said.startswith(FULL):
        return Ending(cause=ExitCause.UNAVAILABLE, detail=f"ECS has no room for the task: {said}")
    return None


def name_in(tags: list[dict[str, str]]) -> AttemptName | None:
    """The build and attempt that a task's tags tell; None for a task of others."""
    told = {tag["key"]: tag.get("value", "") for tag in tags}
    return AttemptName.read(told.get(BUILD, ""), told.get(ATTEMPT, ""))
