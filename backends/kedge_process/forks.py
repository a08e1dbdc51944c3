"""Kedge's side of the fork server."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedge import CapacityUnavailable, StartRefused
from kedge_process.guard.processes import has_ended
from kedge_process.lease import Lease

if TYPE_CHECKING:
    from kedge_process.guard.messages import Plan

BOOT = "import sys; sys.path.insert(0, sys.argv[1]); from guard.server import main; main()"
#: starts of the fork server before a fork is given up
TRIES = 3
#: seconds for one fork, the start of the server included
PATIENCE = 30.0
NO_ROOM = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})


class ServerGone(Exception):
    """The fork server ended in the middle of a fork."""


class ForkServer:
    """Forks waiting runners, in the caller's thread. Starts its helper when it is first needed, and again
    when it has died. With `keep` false the helper serves one fork only.
    """

    def __init__(self, plan: Plan, *, environment: dict[str, str], keep: bool, python: str = "") -> None:
        """Start nothing yet."""
        self._plan = json.dumps(plan).encode()
        self._environment = environment
        self._keep = keep
        self._python = python or sys.executable
        self._lock = threading.Lock()
        self._helper: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    @property
    def pid(self) -> int | None:
        """The helper's process number, if there is one."""
        return self._helper.pid if self._helper else None

    def fork(self) -> Lease:
        """Fork one runner. Raises `StartRefused` if that can never work, `CapacityUnavailable` if not now."""
        with self._lock:
            for _ in range(TRIES):
                try:
                    return self._fork()
                except ServerGone:
                    self._end()
                finally:
                    if not self._keep:
                        self._end()
        raise CapacityUnavailable("the helper that starts builds ends before it has started one")

    def close(self) -> None:
        """End the helper. Runners it has forked live on."""
        with self._lock:
            self._end()

    def _fork(self) -> Lease:
        kedge = self._socket or self._start()
        try:
            with suppress(BrokenPipeError):  # a helper that has ended may have said why
                kedge.send(b"fork")
            data, fds, _, _ = socket.recv_fds(kedge, 1 << 16, 2)
        except (ConnectionError, TimeoutError) as error:
            raise ServerGone from error
        if not data:
            raise ServerGone
        answer: dict[str, Any] = json.loads(data)
        if "refused" in answer:
            self._end()
            raise StartRefused(f"the runner cannot be loaded ({answer['refused']}); install Kedge again")
        if "busy" in answer or len(fds) != 2:
            raise CapacityUnavailable(
                f"the machine has no room for another build ({answer.get('busy', 'too many open files')})"
            )
        channel, pidfd = fds
        return Lease(
            pid=answer["pid"], start=answer["start"], pidfd=pidfd, channel=socket.socket(fileno=channel)
        )

    def _start(self) -> socket.socket:
        ours: socket.socket | None = None
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                self._helper = self._spawn(theirs)
        except OSError as error:
            if ours is not None:
                ours.close()
            if error.errno in NO_ROOM:
                raise CapacityUnavailable(
                    f"the machine cannot start a process now ({error.strerror})"
                ) from None
            raise StartRefused(f"{self._python} cannot be started ({error.strerror})") from None
        ours.settimeout(PATIENCE)
        with suppress(ConnectionError):
            ours.send(self._plan)
        self._socket = ours
        return ours

    def _spawn(self, theirs: socket.socket) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [self._python, "-I", "-S", "-c", BOOT, str(Path(__file__).parent)],
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=self._environment,
            start_new_session=True,
        )

    def _end(self) -> None:
        if self._socket:
            self._socket.close()
            self._socket = None
        helper, self._helper = self._helper, None
        if helper:
            if not _ends_by_itself(helper):
                helper.kill()
            helper.wait()


def _ends_by_itself(helper: subprocess.Popen[bytes]) -> bool:
    try:
        pidfd = os.pidfd_open(helper.pid)
    except OSError:  # no descriptor is left to wait with
        return False
    try:
        return has_ended(pidfd, within=PATIENCE)
    finally:
        os.close(pidfd)
