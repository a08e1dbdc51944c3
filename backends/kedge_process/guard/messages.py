"""What Kedge tells its helper processes, and what they write down, as JSON objects."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypedDict

    class Quota(TypedDict):
        """What one build may use; `None` is not limited."""

        memory: int | None
        processes: int | None
        cpus: float | None
        open_files: int | None
        file_size: int | None

    class Plan(TypedDict):
        """What is the same for every runner; the fork server's first message."""

        #: where to import the runner from, and what to call with the assignment
        folder: str
        module: str
        function: str
        nice: int
        quota: Quota
        #: folders for groups by controller
        groups: dict[str, str]
        #: whether what runs goes on without the Kedge that started it
        outlives_kedge: bool

    class Order(TypedDict):
        """What makes a waiting runner the runner of one attempt. Holds the token: never to be shown."""

        folder: str
        marker: str
        quota: Quota
        assignment: dict[str, Any]

    class ExitRecord(TypedDict):
        """The end of one runner."""

        exit_code: int | None
        #: the signal that killed it
        signal: int | None
        #: processes that were killed for want of memory
        oom_kills: int
        #: whether it had been asked to stop
        stopped: bool
        #: processes that could not be killed
        left: int
        #: the last it wrote to its error output
        errors: str


#: the environment variable that every process of an attempt carries
MARKER = "KEDGE_ATTEMPT_ID"
#: no message is larger
MOST = 64 * 1024
