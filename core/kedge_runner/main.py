"""One attempt, from its assignment to its report."""

from __future__ import annotations

import os

from kedge_runner.address import Address
from kedge_runner.assignment import read_assignment
from kedge_runner.bell import Bell
from kedge_runner.client import Client
from kedge_runner.encodings import SHORTEST
from kedge_runner.errors import Refused, Stale
from kedge_runner.job import Job
from kedge_runner.log import Log
from kedge_runner.phases import Phases
from kedge_runner.processes import on_terminate
from kedge_runner.sender import LOG_GAP
from kedge_runner.verdict import success, verdict_on
from kedge_runner.watch import Watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DONE, STALE, UNUSED = 0, 3, 4


def main() -> int:
    """Wait for an assignment and do it; return the exit code. Without one there is nothing to do."""
    assignment = read_assignment()
    return UNUSED if assignment is None else run(assignment)


def run(assignment: dict[str, Any]) -> int:
    """Do the work of one attempt; return the exit code: 3 if Kedge wants no more of it."""
    return Attempt(assignment).run()


class Attempt:
    """Tells Kedge how it goes. Nothing but the end of the attempt stops the report."""

    def __init__(self, assignment: dict[str, Any]) -> None:
        """Say hello at once: the first line is on its way before the job is known."""
        self._cancelled = False
        self._watch: Watch | None = None
        on_terminate(self._cancel)
        endpoint, self._token = str(assignment["endpoint"]), str(assignment["token"])
        prefix = f"/api/builds/{assignment['build_uuid']}"
        self._number: int = assignment["attempt"]
        self._workspace = str(assignment["workspace"])
        self._relays = bool(assignment.get("relay"))
        self._endpoint = endpoint
        self._bell = Bell()
        self._log = Log(
            Client(endpoint, self._token, prefix), os.path.join(self._workspace, "log.spool"), self._bell
        )
        self._log.say("Initializing build environment...")
        self._control = Client(endpoint, self._token, prefix)
        self._address = Address(endpoint, self._token, prefix)

    def run(self) -> int:
        """Work and report."""
        try:
            self._work(Job(self._get_job()))
        except (Stale, Refused):
            return STALE
        return DONE

    def _get_job(self) -> dict[str, Any]:
        job: dict[str, Any] = self._control.call("GET", "/job")
        if self._relays:
            from kedge_runner.relay import Relay, lead_through

            lead_through(Relay(self._endpoint.removeprefix("unix:")).url, job)
        return job

    def _work(self, job: Job) -> None:
        secrets = {*job.secrets, self._token}
        self._log.mask(secrets)
        watch = Watch(self._bell, self._log.sender, timeout=job.timeout, grace=job.stop_grace)
        self._watch = watch
        if self._cancelled:
            watch.cancel()
        for name in job.names_of({secret for secret in secrets if len(secret.strip().encode()) < SHORTEST}):
            self._log.say(f"Warning: the value of {name} is too short to be masked in this log")
        phases = Phases(job, self._address, self._workspace, self._log, watch)
        verdict = self._judge(phases, job)
        verdict |= {"status": "stopped", "phases": phases.done, "chunks": self._log.close()}
        self._report_end(verdict)

    def _judge(self, phases: Phases, job: Job) -> dict[str, object]:
        try:
            phases.run(lambda: self._report({"status": "running"}))
        except (Stale, Refused):
            raise
        except Exception as error:  # noqa: BLE001  (whatever it is, the build has to end, and with a reason)
            verdict = verdict_on(error, timeout=job.timeout)
        else:
            verdict = success()
        if verdict["outcome"] == "cancelled":
            self._log.say("Cancelled.")
        elif verdict["outcome"] != "success":
            self._log.say(f"Failed: {verdict['message']}")
        return verdict

    def _report_end(self, verdict: dict[str, object]) -> None:
        try:
            self._report(verdict)
        except Refused as error:
            expected = error.result.get("expected") if isinstance(error.result, dict) else None
            if error.code != LOG_GAP or not isinstance(expected, int):
                raise
            self._log.sender.resend(expected)
            self._report(verdict)

    def _report(self, report: dict[str, object]) -> None:
        answer = self._control.call("PUT", "/status", {"attempt": self._number, **report})
        if isinstance(answer, dict) and answer.get("cancel"):
            self._cancel()

    def _cancel(self, *_: object) -> None:
        """Safe in a signal handler."""
        self._cancelled = True
        if self._watch is not None:
            self._watch.cancel()
