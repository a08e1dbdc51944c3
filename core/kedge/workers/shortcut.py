"""The short way to a running worker: an instance and a connection are at hand, nothing is waited for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from urllib.parse import unquote

from kedge.contracts.events import RequestServed
from kedge.http.answering import lines
from kedge.workers.errand import Errand
from kedge.workers.instances import Lease
from kedge.workers.means import PLACE
from kedge.workers.refusals import refusal
from kedge.workers.relay.headers import WAIT_UNTIL, to_instances
from kedge.workers.relay.passage import Passage
from kedge.workers.visitors import IDS, introduced

if TYPE_CHECKING:
    from kedge.db.queries.deployments import Serving
    from kedge.errors import KedgeError
    from kedge.http.request import Request
    from kedge.workers.egress.ledger import Ledger
    from kedge.workers.means import Means
    from kedge.workers.places.placing import Place
    from kedge.workers.pool import Member, Pool
    from kedge.workers.relay.headers import Passing
    from kedge.workers.relay.upstream import Answer
    from kedge.workers.served import Served
    from kedge.workers.sites import Site
    from kedge.workers.static import Reply


class Shortcut:
    """Takes what `Relaying` serves as well, if it can be served here and now."""

    def __init__(self, means: Means, served: Served) -> None:
        """Of the same parts as the long way; `served` is told of what was served."""
        self._instances = means.instances
        self.relay = means.relay
        self.places = means.places
        self._visitors = means.visitors
        self.longest_wait_until = means.longest_wait_until
        self._served = served

    def take(self, site: Site, request: Request) -> Passage | None:
        """Begin to answer a request; `None` if it has to take the long way."""
        if request.length > self.relay.bounds.body or self.places.may_be_passed_on(request.shape.said):
            return None
        place = None
        if site.wish:
            place = request.state[PLACE] = self.places.choose(site, _path(request))
            if place is not None and place.peer is not None:
                return None
        pool = self._instances.at_hand(site.serving.version_id)
        member = None if pool is None else pool.take_at_once()
        if pool is None or member is None:
            return None
        address = member.instance.address
        upstream = self.relay.connections.at_hand(address)
        if upstream is None:
            pool.give_back(member)
            return None
        going = _Going(self.relay, address, upstream, request)
        told = going.take(self, site.serving, pool, member)
        if place is not None:
            going.measure(place)
        if self._served.wanted:
            going.tell(self._served)
        return going.begin(told)

    def introduce(self, request: Request) -> tuple[bytes, bytes]:
        """The id of a request, and the lines that tell an instance who asks."""
        visitor = request.connection.visitor
        if self._visitors.may_believe:
            headers = request.headers
            request_id = self._visitors.request_id(visitor, headers)
            return request_id, self._visitors.introduce(visitor, request.host, headers)
        return IDS.next(), introduced(visitor, "http", request.host)


class _Going(Passage):
    """One request on the short way."""

    __slots__ = ("_began", "_errand", "_member", "_pool", "_served", "_serving", "_shortcut", "_told", "id")

    def take(self, shortcut: Shortcut, serving: Serving, pool: Pool, member: Member) -> bytes:
        """Of which version it is asked, and who of its instances was taken for it; return what he is told."""
        self._shortcut = shortcut
        self._serving = serving
        self._pool = pool
        self._member = member
        self._errand: Errand | None = None
        self._served: Served | None = None
        self._began = time.perf_counter()
        request = self.request
        self.id, introduced = shortcut.introduce(request)
        self._told = told = b"x-request-id: %b\r\n" % self.id
        passing: Passing = request.shape[to_instances]
        return passing.lines(request.values) + introduced + told

    def measure(self, place: Place) -> None:
        """It was placed: what the instance asks of others is counted, and how long it takes."""
        self._errand = self._make_errand(self._shortcut.places.ledger, place)

    def tell(self, served: Served) -> None:
        """Plugins want to hear of it."""
        self._served = served

    def added(self, answer: Answer) -> bytes:
        if self._errand is not None:
            return lines(self._errand.answered(answer))
        if WAIT_UNTIL in answer.shape.said:
            return lines(self._make_errand(None, None).answered(answer))
        return self._told

    def refusal(self, error: KedgeError) -> Reply:
        return refusal(error, self._serving, self.id)

    def over(self) -> None:
        self._pool.give_back(self._member)
        if self._errand is not None:
            self._learn(self._errand)
        if self._served is not None and self.status:
            self._served.tell(self._event())

    def _make_errand(self, ledger: Ledger | None, place: Place | None) -> Errand:
        lease = Lease(self._member, self._pool)
        return Errand(lease, ledger, self.id, place, longest=self._shortcut.longest_wait_until)

    def _learn(self, errand: Errand) -> None:
        errand.end()
        if errand.place is not None and self.status:
            worker_id, took = self._serving.worker_id, (time.perf_counter() - self._began) * 1000
            self._shortcut.places.placing.served(worker_id, errand.place, took, errand.calls)

    def _event(self) -> RequestServed:
        serving = self._serving
        return RequestServed(
            account=serving.account,
            worker=serving.worker,
            version_id=serving.version_id,
            method=self.request.method.decode(),
            path=_path(self.request),
            status=self.status,
            duration_ms=(time.perf_counter() - self._began) * 1000,
            bytes_sent=self.sent,
        )


def _path(request: Request) -> str:
    path = request.target.partition(b"?")[0].decode("ascii")
    return unquote(path) if "%" in path else path
