"""The instances of one version on this node: how many there are, and which takes a request."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

import structlog

from kedge.contracts.compute import ExitCause
from kedge.errors import InstanceFailed, KedgeError, Overloaded

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from kedge.config.settings import RuntimeSettings
    from kedge.contracts.runtime import Instance, InstanceExit
    from kedge.workers.runnable import Runnable

log = structlog.get_logger("instances")

#: an instance that lived for so long has not failed because of how it starts
STABLE_SECONDS = 60.0
LONGEST_BACK_OFF = 60.0


class Starter(Protocol):
    """Makes instances."""

    async def start(self, runnable: Runnable) -> Instance:
        """An instance that answers. Raises `InstanceFailed`; then nothing is left of it."""
        ...

    def note(self, runnable: Runnable, text: str) -> None:
        """Put a line of Kedge's own into the worker's log, soon."""
        ...

    def tail(self, instance: Instance) -> str:
        """The end of what an instance printed."""
        ...


class Member:
    """One instance that answers, and what it is at."""

    def __init__(self, instance: Instance) -> None:
        """It has just come up."""
        self.instance = instance
        self.in_flight = 0
        self.born = time.monotonic()
        #: set once it shall be left: it gets no more requests
        self.leaving = asyncio.Event()
        #: whether a request has found that nobody listens there any more
        self.lost = False
        self.unused = asyncio.Event()
        self.unused.set()
        self.idle_since = self.born
        #: looks whether it has been idle for too long
        self.idle: asyncio.TimerHandle | None = None

    def take(self) -> None:
        """One more request."""
        if not self.in_flight:
            self.unused.clear()
        self.in_flight += 1


class Pool:
    """Instances come with requests and go when nobody asks. All methods are for the event loop."""

    def __init__(self, runnable: Runnable, starter: Starter, settings: RuntimeSettings) -> None:
        """There is no instance yet."""
        self.runnable = runnable
        self.members: list[Member] = []
        self.failure: InstanceFailed | None = None
        self._starter = starter
        self._settings = settings
        self._concurrency = runnable.concurrency or settings.concurrency
        self._most = min(runnable.max_instances or settings.max_instances, settings.max_instances)
        self._waiting: deque[asyncio.Future[Member]] = deque()
        self._starts: set[asyncio.Task[None]] = set()
        self._starting = 0
        self._kept_until = 0.0
        self._failures = 0
        self._retry_at = 0.0
        self._retry: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    @property
    def empty(self) -> bool:
        """Whether nothing is lost with it."""
        return not (self.members or self._tasks or self._waiting or self._back_off() > 0)

    @property
    def starting(self) -> int:
        """Instances that do not answer yet."""
        return self._starting

    async def take(self) -> Member:
        """The least busy instance, started if need be. Raises `InstanceFailed` or `Overloaded`."""
        if self._closed:
            raise Overloaded("this node is stopping; ask again")
        member = self.take_at_once()
        if member is not None:
            return member
        if not self.members and not self._starting and self._back_off() > 0:
            raise self._told_again()
        if len(self._waiting) >= self._settings.queue:
            raise Overloaded(
                f"{len(self._waiting)} requests wait for {self.runnable.worker} already; "
                "ask later, or raise runtime.max_instances or runtime.queue"
            )
        return await self._wait()

    async def warm(self, count: int) -> bool:
        """See `Instances.warm`."""
        wanted = min(count, self._most)
        missing = len(self.members) < wanted
        while len(self.members) < wanted:
            if self._closed:
                raise Overloaded("this node is stopping; ask again")
            if self._back_off() <= 0:
                self._start_more(wanted - len(self.members) - self._starting)
            elif not self._starting:
                if not self.members:
                    raise self._told_again()
                # the first was missed, the others would have been welcome
                break
            await asyncio.wait(self._starts, return_when=asyncio.FIRST_COMPLETED)
        self._kept_until = time.monotonic() + self._settings.start_timeout
        return missing

    def take_at_once(self) -> Member | None:
        """The least busy instance, if one can take a request now."""
        best, least = None, self._concurrency
        for member in self.members:
            if member.in_flight < least:
                best, least = member, member.in_flight
        if best is not None:
            best.take()
        return best

    def give_back(self, member: Member) -> None:
        """A request has ended."""
        member.in_flight -= 1
        if self._waiting:
            self._serve_waiting()
        if not member.in_flight:
            self._unused(member)

    def _unused(self, member: Member) -> None:
        member.idle_since = time.monotonic()
        member.unused.set()
        if member.idle is None and not member.leaving.is_set():
            self._look_later(member, self._settings.idle_timeout)

    def drain(self) -> None:
        """Let every instance go as soon as its requests have ended."""
        for member in list(self.members):
            self._retire(member)

    async def close(self) -> None:
        """End every instance; requests in flight get the grace that a stop gives."""
        self._closed = True
        if self._retry is not None:
            self._retry.cancel()
        self._refuse(lambda: Overloaded("this node is stopping; ask again"))
        members, self.members = self.members, []
        ends = [self._spawn(self._end(member)) for member in members]
        if ends:
            await asyncio.wait(ends)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _wait(self) -> Member:
        waiting: asyncio.Future[Member] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        self._grow()
        try:
            async with asyncio.timeout(self._settings.queue_timeout):
                return await waiting
        except TimeoutError:
            raise Overloaded(
                f"no instance of {self.runnable.worker} was free for {self._settings.queue_timeout:g} s"
            ) from None
        except asyncio.CancelledError:
            # it may have been handed over in the same moment
            if waiting.done() and not waiting.cancelled() and waiting.exception() is None:
                self.give_back(waiting.result())
            raise
        finally:
            with suppress(ValueError):
                self._waiting.remove(waiting)

    def _serve_waiting(self) -> None:
        while self._waiting:
            if self._waiting[0].done():
                self._waiting.popleft()
                continue
            member = self.take_at_once()
            if member is None:
                return
            self._waiting.popleft().set_result(member)

    def _grow(self) -> None:
        """Start as many instances as those who wait need."""
        if self._closed or self._back_off() > 0:
            return
        while (
            len(self._waiting) > self._starting * self._concurrency
            and len(self.members) + self._starting < self._most
        ):
            self._start_more(1)

    def _start_more(self, count: int) -> None:
        for _ in range(count):
            self._starting += 1
            task = self._spawn(self._start())
            self._starts.add(task)
            task.add_done_callback(self._starts.discard)

    async def _start(self) -> None:
        try:
            instance = await self._starter.start(self.runnable)
        except Exception as error:  # noqa: BLE001  (a runtime is a plugin: it may raise anything)
            self._starting -= 1
            self._start_failed(self._as_failure(error))
            return
        except BaseException:
            self._starting -= 1
            raise
        self._starting -= 1
        self.failure = None
        member = Member(instance)
        self.members.append(member)
        self._spawn(self._watch(member))
        self._serve_waiting()
        if not member.in_flight:
            self._look_later(member, self._settings.idle_timeout)

    def _as_failure(self, error: Exception) -> InstanceFailed:
        if isinstance(error, InstanceFailed):
            return error
        if isinstance(error, KedgeError):
            return InstanceFailed(str(error))
        log.error("an instance could not be started", worker=self.runnable.worker, exc_info=error)
        return InstanceFailed(
            f"no instance of {self.runnable.worker} can be started: "
            "something in Kedge failed at it, and its log says what"
        )

    def _start_failed(self, failure: InstanceFailed) -> None:
        self._failed(failure, at_once=False)
        if not self.members and not self._starting:
            self._refuse(self._told_again)

    async def _watch(self, member: Member) -> None:
        """Take note when an instance ends by itself."""
        ended = await member.instance.exited()
        if member in self.members:
            self.members.remove(member)
        elif not member.lost:
            return
        self._forget_idle(member)
        member.leaving.set()
        if ended.cause is not ExitCause.STOPPED or member.lost:
            self._crashed(member, ended)
        self._retry_later()

    def _crashed(self, member: Member, ended: InstanceExit) -> None:
        if time.monotonic() - member.born >= STABLE_SECONDS:
            self._failures = 0
        reason = f"an instance of {self.runnable.worker} {ended}"
        tail = self._starter.tail(member.instance)
        self._failed(InstanceFailed(reason, tail=tail, crashed=True), at_once=not self._failures)

    def _failed(self, failure: InstanceFailed, *, at_once: bool) -> None:
        self.failure = failure
        self._failures += 1
        delay = 0.0 if at_once else min(2.0 ** (self._failures - 1), LONGEST_BACK_OFF)
        self._retry_at = time.monotonic() + delay
        times = "once" if self._failures == 1 else f"{self._failures} times"
        again = f"; it has failed {times}, the next start is in {delay:g} s" if delay else ""
        log.warning("instance failed", worker=self.runnable.worker, reason=failure.reason, again_in=delay)
        self._starter.note(self.runnable, f"{failure.reason}{again}")

    def _retry_later(self) -> None:
        """Those who wait now are not let down by an end: somebody else is started when that is due."""
        if self._waiting and not self.members and not self._starting and not self._closed:
            self._retry = asyncio.get_running_loop().call_later(self._back_off(), self._grow)

    def _told_again(self) -> InstanceFailed:
        failure = self.failure or InstanceFailed(f"{self.runnable.worker} does not start")
        return InstanceFailed(
            failure.reason,
            probes=failure.probes,
            tail=failure.tail,
            retry_after=self._back_off(),
            crashed=failure.crashed,
        )

    def _back_off(self) -> float:
        return max(self._retry_at - time.monotonic(), 0.0)

    def _refuse(self, error: Callable[[], KedgeError]) -> None:
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_exception(error())

    def _look_later(self, member: Member, seconds: float) -> None:
        member.idle = asyncio.get_running_loop().call_later(seconds, self._look_whether_idle, member)

    def _look_whether_idle(self, member: Member) -> None:
        """One timer an instance: requests do not move it, they only leave word of when they were there."""
        member.idle = None
        if member.in_flight:
            return
        left = max(member.idle_since + self._settings.idle_timeout, self._kept_until) - time.monotonic()
        if left > 0:
            self._look_later(member, left)
        else:
            self._retire(member)

    def _forget_idle(self, member: Member) -> None:
        if member.idle is not None:
            member.idle.cancel()
            member.idle = None

    def _retire(self, member: Member) -> None:
        """Give it no more requests, and end it when it has none."""
        if member in self.members:
            self.members.remove(member)
            self._spawn(self._drain(member))

    def lose(self, member: Member) -> None:
        """Nobody listens there any more: it gets no requests, and has crashed, though its end comes later."""
        if member in self.members:
            member.lost = True
            self._retire(member)

    async def _drain(self, member: Member) -> None:
        self._forget_idle(member)
        member.leaving.set()
        try:
            async with asyncio.timeout(self._settings.drain_timeout):
                await member.unused.wait()
        except TimeoutError:
            log.warning("requests cut off", worker=self.runnable.worker, requests=member.in_flight)
        finally:
            await self._end(member)

    async def _end(self, member: Member) -> None:
        self._forget_idle(member)
        member.leaving.set()
        await member.instance.stop(grace=self._settings.stop_grace)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("an instance was not looked after", worker=self.runnable.worker, exc_info=error)
