"""What a visitor is told whose request is not served."""

from __future__ import annotations

import pytest

from kedge.db.queries.deployments import Serving
from kedge.errors import InstanceFailed
from kedge.workers.refusals import refusal

SERVING = Serving(
    account_id="a", account="default", worker_id="w", worker="hello", version_id="v", digest="d"
)


@pytest.mark.parametrize(
    ("crashed", "said"),
    [(False, "does not start"), (True, "has crashed and will be started again")],
)
def test_one_that_ran_and_crashed_is_told_from_one_that_does_not_start(*, crashed: bool, said: str) -> None:
    error = InstanceFailed("exited with code 9", tail="not for visitors", retry_after=2, crashed=crashed)
    reply = refusal(error, SERVING, b"r")

    assert reply.status == 502
    assert bytes(reply.body).decode().startswith(f"This worker {said}.\n")
    assert b"not for visitors" not in bytes(reply.body)
    assert (b"retry-after", b"2") in reply.headers
