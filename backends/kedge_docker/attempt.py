"""One attempt as this backend knows it."""

from __future__ import annotations

from typing import Any

from kedge import Ending, ExitCause, StartedAttempt


class Attempt(StartedAttempt):
    """A container or a service with its runner."""

    def ending(self, state: dict[str, Any] | None, errors: str = "") -> Ending:
        """What this `State` of the engine's means, or that there is none any more."""
        if state is None:
            return self._removed()
        code, said = state["ExitCode"], state.get("Error") or ""
        if self.stopping:
            return Ending(cause=ExitCause.STOPPED, detail=errors, exit_code=code)
        if said:
            detail = f"its container could not run: {said}"
            return Ending(cause=ExitCause.INFRASTRUCTURE, detail=detail, exit_code=code)
        if state.get("OOMKilled") and code != 0:
            detail = "its processes hit the memory limit"
            return Ending(cause=ExitCause.OUT_OF_MEMORY, detail=detail, exit_code=code)
        return Ending.of_code(code, errors)

    def _removed(self) -> Ending:
        if self.stopping:
            return Ending(cause=ExitCause.STOPPED)
        return Ending(cause=ExitCause.INFRASTRUCTURE, detail="its container was removed by someone else")
