"""One task, from PROVISIONING to STOPPED."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from kedge.testing.ecs.runner import ImageMissing

if TYPE_CHECKING:
    from kedge.testing.ecs.faults import Faults
    from kedge.testing.ecs.runner import TaskRunner

STOP_TIMEOUT = 30


class Task:
    """Lives in a thread of its own; every method may be called from any other."""

    def __init__(
        self,
        arn: str,
        cluster: str,
        definition: dict[str, Any],
        given: dict[str, Any],
        *,
        runner: TaskRunner,
        faults: Faults,
    ) -> None:
        """Accepted, not yet alive."""
        self.arn = arn
        self.family: str = definition["family"]
        self.desired = "RUNNING"
        self._cluster = cluster
        self._definition = definition
        self._given = given
        self._runner = runner
        self._faults = faults
        self._lock = threading.Lock()
        self._status = "PROVISIONING"
        self._created = time.time()
        self._stop: dict[str, str] = {}
        self._container: dict[str, Any] = {}
        self._runs = False

    @property
    def is_stopped(self) -> bool:
        """Whether it is over."""
        return self._status == "STOPPED"

    def live(self) -> None:
        """Run its one container to the end. Blocks."""
        self._status = "PENDING"
        self._faults.may_run.wait()
        container = self._definition["containerDefinitions"][0]
        overrides = self._given.get("overrides", {}).get("containerOverrides", [{}])[0]
        pairs = [*container.get("environment", []), *overrides.get("environment", [])]
        with self._lock:
            if self._stop:
                return self._over()
            try:
                # before its process can tell anyone that it runs
                self._status = "RUNNING"
                self._pull()
                self._runner.start(self.arn, container, {pair["name"]: pair["value"] for pair in pairs})
            except ImageMissing as missing:
                said = str(missing)
                self._stop = {"stopCode": "TaskFailedToStart", "stoppedReason": said}
                self._container = {"reason": said}
                return self._over()
            self._runs = True
        return self._finish()

    def _pull(self) -> None:
        if self._faults.pulls:
            raise ImageMissing(self._faults.pulls.popleft())

    def ask_to_stop(self, code: str, reason: str, *, grace: int | None = None) -> None:
        """End it, now or after its container's stop timeout. Only the first reason counts."""
        with self._lock:
            if self.is_stopped:
                return
            first = not self._stop
            self._stop = self._stop or {"stopCode": code, "stoppedReason": reason}
            self.desired = "STOPPED"
            runs = self._runs
        if runs and (first or grace is not None):
            timeout = self._definition["containerDefinitions"][0].get("stopTimeout", STOP_TIMEOUT)
            patience = timeout if grace is None else grace
            threading.Thread(target=self._runner.stop, args=(self.arn, patience), daemon=True).start()

    def described(self, tags: list[dict[str, str]]) -> dict[str, Any]:
        """As DescribeTasks tells of it."""
        first = self._definition["containerDefinitions"][0]
        times = {"stoppedAt": time.time()} if self.is_stopped else {}
        # as a task tells of them: its stop is seen only at its end
        stop = self._stop if self.is_stopped else {}
        return {
            "taskArn": self.arn,
            "clusterArn": self._cluster,
            "taskDefinitionArn": self._definition["taskDefinitionArn"],
            "group": f"family:{self.family}",
            "lastStatus": self._status,
            "desiredStatus": self.desired,
            "createdAt": self._created,
            "overrides": self._given.get("overrides", {}),
            "containers": [{"name": first["name"], "lastStatus": self._status, **self._container}],
            "tags": tags,
            **times,
            **stop,
        }

    def _finish(self) -> None:
        end = self._runner.wait(self.arn)
        with self._lock:
            self._status = "DEPROVISIONING"
            self._container = {"exitCode": end.exit_code}
            if end.out_of_memory and not self._stop:
                self._container["reason"] = "OutOfMemoryError: Container killed due to memory usage"
            exited = {
                "stopCode": "EssentialContainerExited",
                "stoppedReason": "Essential container in task exited",
            }
            self._stop = self._stop or exited
            self._over()

    def _over(self) -> None:
        self.desired = "STOPPED"
        self._status = "STOPPED"
