"""The short way to a running worker: an instance and a connection are at hand, nothing is waited for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from urllib.parse import unquote

from kedge.contracts.events import RequestServed
from kedge.http.answering import lines
from kedge.workers.errand import go_on
from kedge.workers.instances import Lease
from kedge.workers.means import PLACE
from kedge.workers.refusals import refusal
from kedge.workers.relay.headers import WAIT_UNTIL, by_proxy_to_instances, introduction, to_instances
from kedge.workers.relay.passage import Passage
from kedge.workers.visitors import IDS, stranger

if TYPE_CHECKING:
    from kedge.errors import KedgeError
    from kedge.http.request import Request
    from kedge.workers.egress.ledger import Invocation, Work
    from kedge.workers.errand import Calls
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
        self.means = means
        self.served = served
        self._instances = means.instances
        self._relay = means.relay
        self._places = means.places
        self._visitors = means.visitors
        self._works = means.places.ledger.works
        self.sampling = means.places.placing.sampling

    def take(self, site: Site, request: Request) -> Passage | None:
        """Begin to answer a request; `None` if it has to take the long way."""
        if request.length > self._relay.bounds.body or self._places.may_be_passed_on(request.shape.said):
            return None
        if not site.wish:
            return self._go(site, request, None)
        place = self._places.choose(site, _path(request))
        going = None if place is not None and place.peer is not None else self._go(site, request, place)
        if going is None and place is not None:
            # the long way goes on from here
            request.state[PLACE] = place
        return going

    def _go(self, site: Site, request: Request, place: Place | None) -> Passage | None:
        pool = self._instances.at_hand(site.serving.version_id)
        member = None if pool is None else pool.take_at_once()
        if pool is None or member is None:
            return None
        instance = member.instance
        upstream = self._relay.connections.at_hand(instance.address)
        if upstream is None:
            pool.give_back(member)
            return None
        going = _Going(self._relay, instance.address, upstream, request)
        told = going.take(self, site, pool, member)
        if place is not None:
            going.count(place, self._works[instance.instance_id])
        return going.begin(told)

    def tell(self, request: Request) -> tuple[bytes, bytes]:
        """The id of a request, and the lines that an instance is told."""
        client, shape, values = request.connection.visitor, request.shape, request.values
        passing: Passing = shape[to_instances]
        if not self._visitors.may_believe:
            return IDS.next(), passing.lines(values) + stranger(client, request.host)
        headers = request.headers
        visitor = self._visitors.of(client, request.host, headers)
        if visitor.believed:
            passing = shape[by_proxy_to_instances]
        request_id = self._visitors.request_id(client, headers)
        return request_id, passing.lines(values) + lines(introduction(visitor))


def _path(request: Request) -> bytes:
    target = request.target
    return target if b"?" not in target else target.partition(b"?")[0]


class _Going(Passage):
    """One request on the short way."""

    __slots__ = (
        "_began",
        "_calls",
        "_invocation",
        "_member",
        "_place",
        "_pool",
        "_shortcut",
        "_site",
        "_stands_for",
        "_told",
        "_work",
        "id",
    )

    def take(self, shortcut: Shortcut, site: Site, pool: Pool, member: Member) -> bytes:
        """Of which site it is asked, and who of its instances was taken for it; return what he is told."""
        self._shortcut = shortcut
        self._site = site
        self._pool = pool
        self._member = member
        self._work: Work | None = None
        if shortcut.served.wanted:
            self._began = time.perf_counter()
        self.id, told = shortcut.tell(self.request)
        self._told = b"x-request-id: %b\r\n" % self.id
        return told + self._told

    def count(self, place: Place, work: Work) -> None:
        """It was placed, and the instance is at work on it; perhaps it is measured."""
        self._work = work
        self._told += place.line
        self._invocation: Invocation | None = None
        self._stands_for = self._shortcut.sampling.stands_for(self._site.serving.worker_id)
        if self._stands_for:
            self._began = time.perf_counter()
            self._place = place
            self._calls: Calls = None
            self._invocation = work.watch()
        else:
            work.begin()

    def added(self, answer: Answer) -> bytes:
        if self._work is not None and self._invocation is not None:
            self._calls = self._invocation.groups()
        if WAIT_UNTIL in answer.shape.said:
            lease = Lease(self._member, self._pool)
            go_on(lease, answer, self._shortcut.means.longest_wait_until)
        return self._told

    def refusal(self, error: KedgeError) -> Reply:
        return refusal(error, self._site.serving, self.id)

    def over(self) -> None:
        self._pool.give_back(self._member)
        if self._work is not None:
            if self._invocation is None:
                self._work.end()
            else:
                self._learn(self._invocation)
        if self._shortcut.served.wanted and self.status:
            self._shortcut.served.tell(self._event())

    def _learn(self, invocation: Invocation) -> None:
        invocation.end()
        if self.status:
            self._shortcut.means.places.placing.record(
                self._site.serving.worker_id,
                self._place,
                self._took(),
                self._calls,
                stands_for=self._stands_for,
            )

    def _event(self) -> RequestServed:
        serving = self._site.serving
        return RequestServed(
            account=serving.account,
            worker=serving.worker,
            version_id=serving.version_id,
            method=self.request.method.decode(),
            path=unquote(_path(self.request).decode("ascii")),
            status=self.status,
            duration_ms=self._took(),
            bytes_sent=self.sent,
        )

    def _took(self) -> float:
        """Milliseconds so far."""
        return (time.perf_counter() - self._began) * 1000
