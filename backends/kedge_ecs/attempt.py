"""One attempt as this backend knows it, and what ECS tells of its task."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from typing import Any

from kedge import ComputeState, ComputeStatus, ExitCause

BUILD, ATTEMPT = "kedge.build", "kedge.attempt"
#: the reason by which any node knows that a stop was Kedge's own
STOPPED_BY_KEDGE = "Stopped by Kedge"
ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,127}", re.ASCII)
ARN = re.compile(r"arn:aws[a-z-]*:ecs:[a-z0-9-]+:[0-9]{12}:task/[0-9A-Za-z_/-]{1,300}", re.ASCII)
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
SIGNALLED, LAST_SIGNAL = 128, 64
WAITING = frozenset({"PROVISIONING", "PENDING", "ACTIVATING"})
TAKEN_AWAY = {
    "SpotInterruption": "its spot capacity was reclaimed",
    "TerminationNotice": "its machine was taken away",
    "TaskFailedToStart": "its task could not start",
    "UserInitiated": "its task was stopped by someone else",
    "ServiceSchedulerInitiated": "its task was stopped by ECS",
}


@dataclass(kw_only=True, eq=False)
class Attempt:
    """A task with its runner, from its start until it is forgotten."""

    compute_id: str
    build_uuid: str
    attempt: int
    #: monotonic: a task that has just been started may not be told of yet
    since: float
    state: ComputeState = ComputeState.STARTING
    stopping: bool = False
    #: whether a stop is over: such an attempt is not listed any more
    stopped: bool = False
    end: ComputeStatus | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def status(self) -> ComputeStatus:
        """What is known of it now."""
        return self.end or self._status(self.state)

    def learn(self, task: dict[str, Any]) -> ComputeStatus | None:
        """Take in what DescribeTasks tells. Its end, if that is new."""
        last = task["lastStatus"]
        if self.end is not None:
            return None
        if last not in {"STOPPED", "DELETED"}:
            self.state = ComputeState.STARTING if last in WAITING else ComputeState.RUNNING
            return None
        container: dict[str, Any] = next(iter(task.get("containers", [])), {})
        cause, detail = verdict(task, container)
        self.stopped = self.stopped or cause is ExitCause.STOPPED
        return self._finish(container.get("exitCode"), cause, CONTROLS.sub(" ", detail))

    def lose(self) -> ComputeStatus | None:
        """ECS tells of its task no longer. Its end, if that is new."""
        if self.end is not None:
            return None
        cause = ExitCause.STOPPED if self.stopping else ExitCause.INFRASTRUCTURE
        return self._finish(None, cause, "ECS does not know its task any more")

    def _finish(self, code: int | None, cause: ExitCause, detail: str) -> ComputeStatus:
        self.end = self._status(ComputeState.EXITED, exit_code=code, cause=cause, detail=detail)
        self.ended.set()
        return self.end

    def _status(
        self,
        state: ComputeState,
        *,
        exit_code: int | None = None,
        cause: ExitCause | None = None,
        detail: str = "",
    ) -> ComputeStatus:
        return ComputeStatus(
            compute_id=self.compute_id,
            build_uuid=self.build_uuid,
            attempt=self.attempt,
            state=state,
            exit_code=exit_code,
            cause=cause,
            detail=detail,
        )


def verdict(task: dict[str, Any], container: dict[str, Any]) -> tuple[ExitCause, str]:
    """Why a stopped task ended."""
    stop, said = task.get("stopCode", ""), task.get("stoppedReason", "")
    code, why = container.get("exitCode"), container.get("reason", "")
    if stop == "UserInitiated" and said == STOPPED_BY_KEDGE:
        return ExitCause.STOPPED, ""
    if why.startswith("OutOfMemory") or said.startswith("OutOfMemory"):
        return ExitCause.OUT_OF_MEMORY, "its processes hit the memory limit"
    taken = "" if code is not None else f"its container did not run: {why or said}"
    if stop in TAKEN_AWAY:
        taken = f"{TAKEN_AWAY[stop]}: {said or why}"
    if "CannotPull" in why + said:
        taken = f"its image cannot be pulled, check compute.ecs.image: {why or said}"
    if taken or code is None:
        return ExitCause.INFRASTRUCTURE, taken
    if SIGNALLED < code <= SIGNALLED + LAST_SIGNAL:
        return ExitCause.INFRASTRUCTURE, f"its runner was killed by signal {code - SIGNALLED}"
    return ExitCause.SELF, ""


def name_in(tags: list[dict[str, str]]) -> tuple[str, int] | None:
    """The build and attempt that a task's tags tell; None for a task of others."""
    told = {tag["key"]: tag.get("value", "") for tag in tags}
    build, attempt = told.get(BUILD, ""), told.get(ATTEMPT, "")
    if not ID.fullmatch(build) or not re.fullmatch(r"[0-9]{1,9}", attempt, re.ASCII):
        return None
    return build, int(attempt)
