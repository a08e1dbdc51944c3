"""One attempt as this backend knows it."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kedge import AttemptName, Ending, ExitCause, StartedAttempt
from kedge_process.guard import processes, record
from kedge_process.guard.messages import MARKER

if TYPE_CHECKING:
    from pathlib import Path
    from socket import socket

    from kedge_process.folders import Tenant
    from kedge_process.guard.messages import ExitRecord


@dataclass(kw_only=True, eq=False)
class Attempt(StartedAttempt):
    """A supervisor with its runner, from the order on."""

    tenant: Tenant
    folder: Path
    #: of the supervisor; `None` once it has ended
    pidfd: int | None
    #: open as long as it is to run on; `None` if that does not depend on Kedge
    lifeline: socket | None

    @classmethod
    def of(cls, tenant: Tenant, folder: Path, pidfd: int | None, lifeline: socket | None = None) -> Attempt:
        """Whoever runs, or ran, in a folder."""
        name = AttemptName.of(tenant.build_uuid, tenant.attempt)
        return cls(
            compute_id=tenant.compute_id,
            name=name,
            tenant=tenant,
            folder=folder,
            pidfd=pidfd,
            lifeline=lifeline,
        )

    def signal(self, number: signal.Signals) -> None:
        """Signal the supervisor, if it is still there."""
        if self.pidfd is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, number)

    def settle(self) -> Ending:
        """Find out how it ended, and see to it that nothing of it is left. Blocks."""
        written = record.read(str(self.folder / "exit.json"))
        if written is not None:
            return self._describe(written)
        tenant = self.tenant
        if tenant.boot != processes.boot_id():
            return self._lost("the machine was restarted")
        left = processes.end_strays(tenant.pid, tenant.start, f"{MARKER}={tenant.name}".encode())
        return self._lost("its supervisor was killed" + (f"; {left} processes are left" if left else ""))

    def close(self) -> None:
        """Look no longer; it lives on, unless its life hangs on Kedge."""
        if self.pidfd is not None:
            os.close(self.pidfd)
            self.pidfd = None
        if self.lifeline is not None:
            self.lifeline.close()

    def _describe(self, written: ExitRecord) -> Ending:
        ending = self._verdict(written)
        if written["left"]:
            left = f"{written['left']} of its processes cannot be killed. {ending.detail}"
            return replace(ending, detail=left)
        return ending

    def _verdict(self, written: ExitRecord) -> Ending:
        code = written["exit_code"]
        if self.stopping or written["stopped"]:
            return Ending(cause=ExitCause.STOPPED, detail=written["errors"], exit_code=code)
        if written["oom_kills"]:
            detail = f"{written['oom_kills']} of its processes hit the memory limit"
            return Ending(cause=ExitCause.OUT_OF_MEMORY, detail=detail, exit_code=code)
        if written["signal"] is not None:
            detail = f"its runner was killed by signal {written['signal']}"
            return Ending(cause=ExitCause.INFRASTRUCTURE, detail=detail, exit_code=code)
        return Ending(cause=ExitCause.SELF, detail=written["errors"], exit_code=code)

    def _lost(self, detail: str) -> Ending:
        cause = ExitCause.STOPPED if self.stopping else ExitCause.INFRASTRUCTURE
        return Ending(cause=cause, detail=detail)
