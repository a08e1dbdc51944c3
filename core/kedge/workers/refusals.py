"""What a visitor is told whose request is not served."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from kedge.errors import InstanceFailed, NotFound, ServingError
from kedge.workers.relay.relay import BodyLate, BodyTooLarge, NoAnswer
from kedge.workers.static import plain

if TYPE_CHECKING:
    from kedge.db.queries.deployments import Serving
    from kedge.errors import KedgeError
    from kedge.workers.static import Reply

log = structlog.get_logger("gateway")


def refusal(error: KedgeError, serving: Serving, request_id: bytes) -> Reply:
    """The answer; why, in full, goes to the node's log."""
    log.warning(
        "request not served",
        worker=serving.worker,
        version=serving.version_id,
        request=request_id.decode(),
        reason=str(error),
    )
    reply = _reply_to(error, serving.worker)
    return replace(reply, headers=[*reply.headers, (b"x-request-id", request_id)])


def _reply_to(error: KedgeError, worker: str) -> Reply:
    """What a visitor may know: not what the program printed."""
    if isinstance(error, InstanceFailed):
        what = "has crashed and will be started again" if error.crashed else "does not start"
        return plain(
            502,
            f"This worker {what}.\n\nIf it is yours, see why: kedge worker logs {worker}\n",
            (b"retry-after", b"%d" % max(round(error.retry_after), 1)),
        )
    if isinstance(error, ServingError):
        return plain(503, "This worker has more to do than it can. Try again soon.\n", (b"retry-after", b"1"))
    if isinstance(error, (BodyTooLarge, BodyLate)):
        return plain(error.status, f"{error}.\n")
    if isinstance(error, NoAnswer):
        return plain(504 if error.late else 502, f"This worker did not answer: {error}.\n")
    if isinstance(error, NotFound):
        return plain(404, "This worker is not there any more.\n")
    return plain(503, "This worker cannot be served just now. Try again soon.\n", (b"retry-after", b"1"))
