"""What compute backends have in common: which attempts they have started, and how those ended."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from kedge.contracts.compute import ComputeState, ComputeStatus, ExitCause

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

    from kedge.contracts.attempt_name import AttemptName

#: what a terminal might obey
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
#: the most that is kept of what a runner wrote as errors
SHOWN = 4096
#: exit codes above it tell the signal that ended a process
SIGNALLED, LAST_SIGNAL = 128, 64


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a runner ended."""

    cause: ExitCause
    #: what an operator should know of it
    detail: str = ""
    exit_code: int | None = None

    @classmethod
    def of_code(cls, code: int, errors: str = "") -> Ending:
        """What an exit code alone tells; `errors` is what the runner wrote as such."""
        if SIGNALLED < code <= SIGNALLED + LAST_SIGNAL:
            detail = f"its runner was killed by signal {code - SIGNALLED}"
            return cls(cause=ExitCause.INFRASTRUCTURE, detail=detail, exit_code=code)
        return cls(cause=ExitCause.SELF, detail=errors, exit_code=code)


@dataclass(kw_only=True, eq=False)
class StartedAttempt:
    """One attempt as its backend knows it, from its start until it is forgotten."""

    compute_id: str
    name: AttemptName
    state: ComputeState = ComputeState.RUNNING
    #: whether this Kedge has been asked to stop it
    stopping: bool = False
    #: whether a stop is over: such an attempt is not listed any more
    stopped: bool = False
    end: ComputeStatus | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def status(self) -> ComputeStatus:
        """What is known of it now."""
        return self.end or self._status(self.state)

    def finish(self, ending: Ending) -> ComputeStatus | None:
        """It has ended like this. None if that was known before."""
        if self.end is not None:
            return None
        self.end = self._status(
            ComputeState.EXITED,
            exit_code=ending.exit_code,
            cause=ending.cause,
            detail=CONTROLS.sub("", ending.detail).strip()[-SHOWN:],
        )
        self.ended.set()
        return self.end

    def ask_to_stop(self) -> None:
        """A stop has been asked for; one that has ended by then is not ended by it."""
        self.stopping = self.stopping or self.end is None

    def _status(
        self,
        state: ComputeState,
        *,
        exit_code: int | None = None,
        cause: ExitCause | None = None,
        detail: str = "",
    ) -> ComputeStatus:
        return ComputeStatus(
            compute_id=self.compute_id,
            build_uuid=self.name.build_uuid,
            attempt=self.name.number,
            state=state,
            exit_code=exit_code,
            cause=cause,
            detail=detail,
        )


A = TypeVar("A", bound=StartedAttempt)


class Attempts(Generic[A]):
    """All attempts that a backend knows of, each found by its compute id and by its name.

    It keeps what the contract of `Compute` says of what is known; backends add how attempts are started and
    ended. Usable from one event loop.
    """

    def __init__(self) -> None:
        """Know of none."""
        self._by_id: dict[str, A] = {}
        self._ids: dict[AttemptName, str] = {}
        self._starts: dict[AttemptName, asyncio.Task[str]] = {}
        self._exits: asyncio.Queue[ComputeStatus | None] = asyncio.Queue()
        self._tasks: set[asyncio.Task[Any]] = set()

    def __iter__(self) -> Iterator[A]:
        """All, as they are now: they may change meanwhile."""
        return iter(list(self._by_id.values()))

    def __contains__(self, compute_id: str) -> bool:
        """Whether an id is that of a known attempt."""
        return compute_id in self._by_id

    @property
    def live(self) -> list[A]:
        """Those whose end is not known."""
        return [attempt for attempt in self if attempt.end is None]

    def get(self, compute_id: str) -> A | None:
        """The attempt of an id."""
        return self._by_id.get(compute_id)

    def ended(self, compute_id: str) -> A | None:
        """The attempt of an id, if its end is known."""
        attempt = self._by_id.get(compute_id)
        return None if attempt is None or attempt.end is None else attempt

    def id_of(self, name: AttemptName) -> str | None:
        """The id of an attempt, if it has been started."""
        return self._ids.get(name)

    def is_starting(self, name: AttemptName | None) -> bool:
        """Whether an attempt's start is under way."""
        return name in self._starts

    def keep(self, attempt: A) -> None:
        """Know of an attempt from now on."""
        self._by_id[attempt.compute_id] = attempt
        self._ids[attempt.name] = attempt.compute_id

    def drop(self, attempt: A) -> None:
        """Know of it no longer. Safe twice."""
        self._by_id.pop(attempt.compute_id, None)
        self._ids.pop(attempt.name, None)

    async def start(self, name: AttemptName, work: Callable[[], Coroutine[Any, Any, str]]) -> str:
        """The id of an attempt, which `work` starts unless that has been done, or is being done.

        A start once begun goes on when the call is cancelled.
        """
        if (known := self._ids.get(name)) is not None:
            return known
        if name not in self._starts:
            self._starts[name] = self.spawn(work())
            self._starts[name].add_done_callback(lambda _: self._starts.pop(name))
        return await asyncio.shield(self._starts[name])

    def status(self, compute_id: str) -> ComputeStatus:
        """What is known of the attempt of an id, be it nothing."""
        attempt = self._by_id.get(compute_id)
        if attempt is None:
            return ComputeStatus(compute_id=compute_id, build_uuid="", attempt=0, state=ComputeState.GONE)
        return attempt.status

    async def listed(self) -> list[ComputeStatus]:
        """All that have not been stopped, once every start under way is over."""
        await self.started()
        return [attempt.status for attempt in self if not attempt.stopped]

    async def started(self) -> None:
        """Return when every start that is under way now is over."""
        if self._starts:
            await asyncio.wait(list(self._starts.values()))

    def tell(self, end: ComputeStatus | None) -> None:
        """Let `exits` yield an end, if there is one."""
        if end is not None:
            self._exits.put_nowait(end)

    async def exits(self) -> AsyncIterator[ComputeStatus]:
        """Yield every end that is told from now on, until `close`."""
        while (status := await self._exits.get()) is not None:
            yield status

    async def safely(self, work: Coroutine[Any, Any, None]) -> None:
        """Wait for `work`, which goes on when the call is cancelled."""
        await asyncio.shield(self.spawn(work))

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run `work`, which `close` waits for."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def cancel(self, *, starts: bool) -> None:
        """Cancel what was spawned; starts under way only if asked to."""
        kept = set() if starts else set(self._starts.values())
        for task in self._tasks - kept:
            task.cancel()

    async def close(self) -> None:
        """Wait for all that was spawned, and end `exits`."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        self._exits.put_nowait(None)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        # whoever waited has seen the error; nobody may be left to
        if not task.cancelled():
            task.exception()
