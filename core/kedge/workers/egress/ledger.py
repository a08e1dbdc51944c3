"""Which request asked which back ends, and whether its answer waited for them."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from kedge.contracts.request_placement import BackEndCall

if TYPE_CHECKING:
    from collections.abc import Sequence

#: calls of one request that are remembered
MOST_CALLS = 64
MOST_HOSTS = 1024


class Speech(StrEnum):
    """What a host understands, and so by what its distance can be measured."""

    HTTP = "http"
    TLS = "tls"
    OTHER = "other"


@dataclass(frozen=True)
class Call:
    """From a question to the beginning of its answer, on the clock of `time.monotonic`."""

    host: str
    began: float
    ended: float
    #: the connect counts as one
    rounds: int = 1


class Work:
    """What an instance is at. All requests are counted, so that it is known of one whether it is alone."""

    __slots__ = ("begun", "present", "watched")

    def __init__(self) -> None:
        """Nothing has begun yet."""
        #: requests that are at work, and that ever were
        self.present = self.begun = 0
        #: the one that was watched last, until it ends
        self.watched: Invocation | None = None

    def begin(self) -> None:
        """A request goes to the instance."""
        self.present += 1
        self.begun += 1

    def end(self) -> None:
        """The answer to one that was not watched has gone out whole."""
        self.present -= 1

    def watch(self) -> Invocation:
        """A request goes to the instance, and what that asks meanwhile is its, as long as it is alone."""
        self.begin()
        self.watched = Invocation(self)
        return self.watched

    def note(self, call: Call) -> None:
        """The instance has asked somebody."""
        if self.watched is not None and self.present == 1 and len(self.watched.calls) < MOST_CALLS:
            self.watched.calls.append(call)


class Works(dict[str, Work]):
    """What instances are at, by their ids."""

    def __missing__(self, instance_id: str) -> Work:
        work = self[instance_id] = Work()
        return work


class Invocation:
    """One request that an instance works on, watched until `end`."""

    def __init__(self, work: Work) -> None:
        """It has asked nobody yet."""
        self.calls: list[Call] = []
        self._work = work
        #: how many had begun when it did; -1 if one of those was still at work
        self._begun = work.begun if work.present == 1 else -1

    def end(self) -> None:
        """Its answer has gone out whole."""
        self._work.end()
        if self._work.watched is self:
            self._work.watched = None

    def groups(self) -> list[list[BackEndCall]] | None:
        """What it has asked and had answered so far, one after the other; `None` if that is not known.

        Calls that overlapped in time stand together. Taken when the answer begins, they are those that it
        waited for. They are not known if another request was at work in the same instance.
        """
        if self._begun != self._work.begun:
            return None
        groups: list[list[BackEndCall]] = []
        until = 0.0
        for call in sorted(self.calls, key=lambda call: call.began):
            duration = (call.ended - call.began) * 1000
            seen = BackEndCall(host=call.host, duration_ms=duration, rounds=call.rounds)
            if groups and call.began < until:
                groups[-1].append(seen)
            else:
                groups.append([seen])
            until = max(until, call.ended)
        return groups


class Ledger:
    """Credentials of the instances of this node, and what each asks."""

    def __init__(self) -> None:
        """No instance yet."""
        self._instances: dict[str, str] = {}
        self._tokens: dict[str, str] = {}
        #: what each instance is at
        self.works = Works()
        self._speech: dict[str, Speech] = {}

    def admit(self, instance_id: str) -> str:
        """The token by which an instance is known from now on. Unguessable; the same if asked again."""
        token = self._tokens.get(instance_id)
        if token is None:
            token = self._tokens[instance_id] = secrets.token_urlsafe(24)
            self._instances[token] = instance_id
        return token

    def expel(self, instance_id: str) -> None:
        """The instance is gone."""
        token = self._tokens.pop(instance_id, None)
        if token is not None:
            del self._instances[token]
        self.works.pop(instance_id, None)

    def note_speech(self, host: str, speech: Speech) -> None:
        """What is spoken there."""
        if len(self._speech) >= MOST_HOSTS:
            self._speech.clear()
        self._speech[host] = speech

    def speech(self, host: str) -> Speech:
        """What is spoken there, as far as is known."""
        return self._speech.get(host, Speech.OTHER)

    def find(self, token: str) -> str | None:
        """The instance that a token belongs to."""
        return self._instances.get(token)

    def begin(self, instance_id: str) -> Invocation:
        """A request goes to the instance, and is watched."""
        return self.works[instance_id].watch()

    def note(self, instance_id: str, host: str, began: float, *, rounds: int = 1) -> None:
        """The instance asked `host` at `began` and hears the answer now, after so many round trips."""
        work = self.works.get(instance_id)
        if work is not None:
            work.note(Call(host, began, time.monotonic(), rounds))


def pack(groups: Sequence[Sequence[BackEndCall]]) -> list[list[list[object]]]:
    """Groups of calls as small JSON."""
    return [[[call.host, round(call.duration_ms, 3), call.rounds] for call in group] for group in groups]


def unpack(packed: object) -> list[list[BackEndCall]] | None:
    """Read back what `pack` gave; `None` for anything else."""
    try:
        return [
            [
                BackEndCall(host=str(host), duration_ms=float(duration), rounds=int(rounds))
                for host, duration, rounds in group
            ]
            for group in packed  # type: ignore[attr-defined]
        ][:MOST_CALLS]
    except (TypeError, ValueError):
        return None
