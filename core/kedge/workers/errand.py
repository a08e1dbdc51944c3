"""One request that an instance of this node works on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import orjson

from kedge.contracts.request_placement import BackEndCall
from kedge.workers.egress.ledger import pack
from kedge.workers.relay.headers import WAIT_UNTIL

if TYPE_CHECKING:
    from kedge.workers.egress.ledger import Ledger
    from kedge.workers.instances import Lease
    from kedge.workers.places.placing import Place
    from kedge.workers.relay.headers import Header
    from kedge.workers.relay.upstream import Answer

#: in which a node tells the one that passed a request on what its answer waited for
CALLS = b"kedge-calls"
Calls = Sequence[Sequence[BackEndCall]] | None
SECONDS = re.compile(rb"\d{1,6}(?:\.\d{1,3})?")


class Errand:
    """From the moment that an instance was lent to it until `end`."""

    #: what the answer waited for, if that is known
    calls: Calls = None
    _passed_on = False

    def __init__(
        self, lease: Lease, ledger: Ledger | None, request_id: bytes, place: Place | None, *, longest: float
    ) -> None:
        """With a ledger, what the instance asks of others is counted as this request's.

        The instance may go on after its answer for `longest` seconds at most.
        """
        self.id = request_id
        self.lease = lease
        self.place = place
        self._longest = longest
        self._invocation = None if ledger is None else ledger.begin(lease.instance_id)

    def passed_on(self) -> None:
        """Another node has passed the request on, and is told what the answer waited for."""
        self._passed_on = True

    def answered(self, answer: Answer) -> list[Header]:
        """The answer begins: what it waited for is known now. Return headers to add to it."""
        if self._invocation is not None:
            self.calls = self._invocation.groups()
        go_on(self.lease, answer, self._longest)
        said = beside(self.id, self.place)
        if self._passed_on and self.calls is not None:
            said.append((CALLS, orjson.dumps(pack(self.calls))))
        return said

    def end(self) -> None:
        """The instance works on it no more."""
        if self._invocation is not None:
            self._invocation.end()


def go_on(lease: Lease, answer: Answer, longest: float) -> None:
    """Keep the instance for as long after its answer as that asks, at most for `longest` seconds."""
    for wanted in answer.find(WAIT_UNTIL)[:1]:
        if SECONDS.fullmatch(wanted):
            lease.keep(min(float(wanted), longest))


def beside(request_id: bytes, place: Place | None) -> list[Header]:
    """What a visitor is told beside an answer that comes from this node."""
    said = [(b"x-request-id", request_id)]
    if place is not None:
        said.append((b"cf-placement", place.told))
    return said
