"""Why a build failed: a class that machines can count and a sentence that tells what to do."""

from __future__ import annotations

from enum import StrEnum


class Failure(StrEnum):
    """The class of a failure."""

    #: the build or deploy command of the user ended with an error
    USER = "user"
    #: installing the dependencies failed
    DEPENDENCY = "dependency"
    #: the commit could not be cloned
    CLONE = "clone"
    #: a memory limit was hit
    OUT_OF_MEMORY = "out_of_memory"
    #: the build ran longer than it may
    TIMEOUT = "timeout"
    #: the runner vanished or fell silent
    LOST = "lost"
    #: the compute backend could not start it
    START = "start"
    #: Kedge itself is at fault
    INTERNAL = "internal"


#: failures of the platform: the build is tried again, within `builds.infrastructure_retries`
RETRIED = frozenset({Failure.LOST, Failure.START, Failure.INTERNAL})

ADVICE: dict[Failure, str] = {
    Failure.USER: "The command above failed. Read its last lines, or run it yourself on the same commit.",
    Failure.DEPENDENCY: (
        "Installing dependencies failed. Check that the lockfile is committed and matches its manifest, or "
        "set SKIP_DEPENDENCY_INSTALL=1 and install in the build command."
    ),
    Failure.CLONE: "The commit could not be cloned. Check that its branch still holds it, then retry.",
    Failure.OUT_OF_MEMORY: (
        "The build used more memory than it may. Raise the compute backend's memory limit or use less."
    ),
    Failure.TIMEOUT: "The build ran longer than it may. Raise `builds.timeout` or find the step that hangs.",
    Failure.LOST: "The runner vanished. Kedge tries again by itself; if it recurs, read the node's log.",
    Failure.START: "The build could not be started. The reason is above; an operator has to mend it.",
    Failure.INTERNAL: "Kedge is at fault. Retry the build; if it fails again, read the node's log.",
}
