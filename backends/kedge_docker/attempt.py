"""One attempt as this backend knows it."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kedge import ComputeState, ComputeStatus, ExitCause

if TYPE_CHECKING:
    from kedge_docker.labels import AttemptName

#: what a terminal might obey
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
SHOWN = 4096
#: exit codes above it tell the signal that ended a process
SIGNALLED, LAST_SIGNAL = 128, 64


@dataclass(kw_only=True, eq=False)
class Attempt:
    """A container with its runner, from its start until it is forgotten."""

    compute_id: str
    name: AttemptName
    #: whether this Kedge has been asked to stop it
    stopping: bool = False
    #: whether a stop is over: such an attempt is not listed any more
    stopped: bool = False
    end: ComputeStatus | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def status(self) -> ComputeStatus:
        """What is known of it now."""
        return self.end or self._status(ComputeState.RUNNING)

    def finish(self, state: dict[str, Any] | None, errors: str = "") -> ComputeStatus | None:
        """It has ended, in this `State` of the engine's or with no trace. None if that was known before."""
        if self.end is not None:
            return None
        cause, detail = self._verdict(state, CONTROLS.sub("", errors).strip()[-SHOWN:])
        code = None if state is None else state["ExitCode"]
        self.end = self._status(ComputeState.EXITED, exit_code=code, cause=cause, detail=detail)
        self.ended.set()
        return self.end

    def _verdict(self, state: dict[str, Any] | None, errors: str) -> tuple[ExitCause, str]:
        if self.stopping:
            return ExitCause.STOPPED, errors
        if state is None:
            return ExitCause.INFRASTRUCTURE, "its container was removed by someone else"
        code, said = state["ExitCode"], state.get("Error") or ""
        if said:
            return ExitCause.INFRASTRUCTURE, f"its container could not run: {said}"
        if state.get("OOMKilled") and code != 0:
            return ExitCause.OUT_OF_MEMORY, "its processes hit the memory limit"
        if SIGNALLED < code <= SIGNALLED + LAST_SIGNAL:
            return ExitCause.INFRASTRUCTURE, f"its runner was killed by signal {code - SIGNALLED}"
        return ExitCause.SELF, errors

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
            build_uuid=self.name.build_uuid,
            attempt=self.name.attempt,
            state=state,
            exit_code=exit_code,
            cause=cause,
            detail=detail,
        )
