"""How nodes know each other's word: signed, for one request at one moment, and good once.

Moments are those of the node that is asked, by a clock that runs from its start and that nobody sets. So the
time of day may be wrong on any of them.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from itertools import count
from typing import TYPE_CHECKING

import orjson

from kedge.errors import Unauthorized

if TYPE_CHECKING:
    from collections.abc import Callable

#: what one node says to another in a request; a visitor's header of that name means nothing
FORWARD = b"kedge-forward"
#: with which a node refuses a word that comes at the wrong moment: the moment that it is there
MOMENT = b"kedge-moment"
#: seconds that a word may be on its way, and by which it may seem to come before it was said
FRESH_SECONDS, EARLY_SECONDS = 10.0, 2.0
LONGEST = 4096


@dataclass(frozen=True, kw_only=True)
class Forwarded:
    """What a node says of a request that it passes on."""

    #: the location it came in at
    entry: str
    visitor: str
    scheme: str
    request_id: str


class WrongMoment(Unauthorized):
    """A node of this cluster said it, but not for this moment, or it was heard before."""

    def __init__(self, moment: bytes) -> None:
        """`moment` is what it should have been said for."""
        super().__init__("a node said it too long ago, or more than once, or before this one started")
        self.moment = moment


class Moments:
    """What moment it is at other nodes, as far as they have told."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` counts seconds."""
        self._clock = clock
        #: name → life, and its clock less ours
        self._known: dict[str, tuple[bytes, float]] = {}

    def learn(self, name: str, told: bytes) -> None:
        """A node says what moment it is there; nonsense counts for nothing."""
        life, _, seconds = told.partition(b"/")
        with suppress(ValueError):
            self._known[name] = (life, float(seconds) - self._clock())

    def at(self, name: str) -> bytes:
        """What moment it is there; empty if it has not told."""
        life, ahead = self._known.get(name, (b"", 0.0))
        return _moment(life, self._clock() + ahead) if life else b""


class ClusterKey:
    """Signs what nodes say to each other. All nodes of a cluster have the same key."""

    def __init__(self, key: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Derive what is signed with: the key itself is used for nothing else."""
        self._key = hmac.digest(key.encode(), b"kedge peers 1", "sha256")
        self._clock = clock
        #: this run of this node, and what is different in each of its words
        self._life = secrets.token_hex(8).encode()
        self._numbers = count()
        self._heard = _Heard(clock)

    @property
    def moment(self) -> bytes:
        """What others have to say what they say for."""
        return _moment(self._life, self._clock())

    def sign(self, said: Forwarded, method: str, host: bytes, target: bytes, *, moment: bytes) -> bytes:
        """The value of the header by which a request is passed on to a node where it is `moment`."""
        once = f"{self._life.decode()}/{next(self._numbers)}"
        told = [moment.decode("latin-1"), once, said.entry, said.visitor, said.scheme, said.request_id]
        payload = base64.urlsafe_b64encode(orjson.dumps(told))
        return payload + b"." + self._signature(payload, method, host, target)

    def verify(self, value: bytes, method: str, host: bytes, target: bytes) -> Forwarded:
        """What the header says, once.

        Raises `Unauthorized` unless a node of this cluster said it, and `WrongMoment` if not just now.
        """
        payload, _, signature = value.partition(b".")
        if len(value) > LONGEST or not hmac.compare_digest(
            signature, self._signature(payload, method, host, target)
        ):
            raise Unauthorized("the request was not passed on by a node of this cluster")
        try:
            moment, _once, entry, visitor, scheme, request_id = orjson.loads(
                base64.urlsafe_b64decode(payload)
            )
            life, _, seconds = str(moment).partition("/")
            age = self._clock() - float(seconds or 0)
        except (binascii.Error, ValueError) as error:
            raise Unauthorized("what the node says of the request cannot be understood") from error
        timely = life.encode() == self._life and -EARLY_SECONDS <= age <= FRESH_SECONDS
        if not timely or not self._heard.first(signature):
            raise WrongMoment(self.moment)
        return Forwarded(entry=entry, visitor=visitor, scheme=scheme, request_id=request_id)

    def _signature(self, payload: bytes, method: str, host: bytes, target: bytes) -> bytes:
        said = b"\n".join((payload, method.encode(), host, target))
        return hmac.new(self._key, said, sha256).hexdigest().encode()


class _Heard:
    """The words of the last seconds. Those that were not said for now are refused without being kept."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._new: set[bytes] = set()
        self._old: set[bytes] = set()
        self._since = clock()

    def first(self, signature: bytes) -> bool:
        """Whether it was not heard before."""
        now = self._clock()
        if now - self._since > FRESH_SECONDS + EARLY_SECONDS:
            self._new, self._old, self._since = set(), self._new, now
        if signature in self._new or signature in self._old:
            return False
        self._new.add(signature)
        return True


def _moment(life: bytes, seconds: float) -> bytes:
    return b"%b/%.3f" % (life, seconds)
