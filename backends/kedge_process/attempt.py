"""One attempt as this backend knows it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kedge import ComputeState, ComputeStatus, ExitCause
from kedge_process.guard import processes, record
from kedge_process.guard.messages import MARKER

if TYPE_CHECKING:
    from pathlib import Path

    from kedge_process.folders import Tenant
    from kedge_process.guard.messages import ExitRecord


#: what a terminal might obey
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(kw_only=True, eq=False)
class Attempt:
    """A supervisor with its runner, from the order on until it is forgotten."""

    tenant: Tenant
    folder: Path
    #: of the supervisor; `None` once it has ended
    pidfd: int | None
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

    def signal(self, number: signal.Signals) -> None:
        """Signal the supervisor, if it is still there."""
        if self.pidfd is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, number)

    def settle(self) -> ComputeStatus:
        """Find out how it ended, and see to it that nothing of it is left. Blocks."""
        written = record.read(str(self.folder / "exit.json"))
        if written is not None:
            return self._describe(written)
        tenant = self.tenant
        if tenant.boot != processes.boot_id():
            return self._lost("the machine was restarted")
        left = processes.end_strays(tenant.pid, tenant.start, f"{MARKER}={tenant.name}".encode())
        return self._lost("its supervisor was killed" + (f"; {left} processes are left" if left else ""))

    def finish(self, status: ComputeStatus) -> None:
        """It has ended like this."""
        self.end = status
        self.ended.set()

    def close(self) -> None:
        """Look no longer; it lives on."""
        if self.pidfd is not None:
            os.close(self.pidfd)
            self.pidfd = None

    def _describe(self, written: ExitRecord) -> ComputeStatus:
        stopped = self.stopping or written["stopped"]
        detail = CONTROLS.sub("", written["errors"]).strip()
        if stopped:
            cause = ExitCause.STOPPED
        elif written["oom_kills"]:
            cause, detail = (
                ExitCause.OUT_OF_MEMORY,
                f"{written['oom_kills']} of its processes hit the memory limit",
            )
        elif written["signal"] is not None:
            cause, detail = ExitCause.INFRASTRUCTURE, f"its runner was killed by signal {written['signal']}"
        else:
            cause = ExitCause.SELF
        if written["left"]:
            detail = f"{written['left']} of its processes cannot be killed. {detail}"
        return self._status(ComputeState.EXITED, exit_code=written["exit_code"], cause=cause, detail=detail)

    def _lost(self, detail: str) -> ComputeStatus:
        cause = ExitCause.STOPPED if self.stopping else ExitCause.INFRASTRUCTURE
        return self._status(ComputeState.EXITED, cause=cause, detail=detail)

    def _status(
        self,
        state: ComputeState,
        *,
        exit_code: int | None = None,
        cause: ExitCause | None = None,
        detail: str = "",
    ) -> ComputeStatus:
        return ComputeStatus(
            compute_id=self.tenant.compute_id,
            build_uuid=self.tenant.build_uuid,
            attempt=self.tenant.attempt,
            state=state,
            exit_code=exit_code,
            cause=cause,
            detail=detail,
        )
