"""How an attempt ended, in the words of the report to Kedge."""

from __future__ import annotations

from kedge_runner.errors import Cancelled, Failed, TimedOut

NOT_EXECUTABLE, NOT_FOUND, SIGNALLED = 126, 127, 128
KILLED = 9
#: as many characters of a message as Kedge takes
LONGEST = 4000


def meaning_of(code: int) -> str:
    """A sentence about the exit code of a command that failed."""
    number = -code if code < 0 else code - SIGNALLED
    if code == NOT_FOUND:
        return "a command was not found (exit code 127). Check how it is spelt, or install it in the build"
    if code == NOT_EXECUTABLE:
        return "a file cannot be executed (exit code 126). Make it executable with chmod +x and commit that"
    if number == KILLED:
        return f"the command was killed (exit code {code}), as happens when memory runs out. Use less of it"
    if 0 < number <= 64:
        return f"the command was ended by signal {number} (exit code {code})"
    return f"the command ended with exit code {code}. Its last lines above tell why"


def success() -> dict[str, object]:
    """All commands went well."""
    return {"outcome": "success", "exit_code": 0, "message": ""}


def verdict_on(error: Exception, *, timeout: float) -> dict[str, object]:
    """What to report when the work ended with an error."""
    if isinstance(error, Cancelled):
        return {"outcome": "cancelled", "message": ""}
    if isinstance(error, TimedOut):
        message = f"the build ran longer than the {timeout:g} seconds it may. Find the step that hangs"
        return {"outcome": "terminated", "failure": "timeout", "message": message}
    if isinstance(error, Failed):
        outcome = "terminated" if error.failure == "out_of_memory" else "fail"
        message = str(error)[:LONGEST]
        return {
            "outcome": outcome,
            "failure": error.failure,
            "message": message,
            "exit_code": error.exit_code,
        }
    message = f"the runner could not go on: {error or type(error).__name__}"[:LONGEST]
    return {"outcome": "fail", "failure": "internal", "message": message}
