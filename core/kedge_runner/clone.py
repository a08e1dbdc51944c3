"""Gets the commit: from a repository on this machine without copying it, else over the network."""

from __future__ import annotations

import os
import time

from kedge_runner.clone_reasons import GONE, NETWORK, reason_of
from kedge_runner.command import Command
from kedge_runner.errors import Failed
from kedge_runner.processes import MARKER
from kedge_runner.repository import Credentials, is_branch, is_commit, make_repository, objects_to_borrow

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from kedge_runner.job import Job
    from kedge_runner.watch import Watch

OPTIONS = ("-c", "core.hooksPath=/dev/null", "-c", "advice.detachedHead=false", "-c", "gc.auto=0")
FETCH = ("fetch", "-q", "--no-tags", "--no-recurse-submodules")
#: seconds after which a fetch is tried again when the network failed
PAUSES = (1.0, 4.0)
#: of what git says when it fails, so much is shown
SHOWN = 8192
ENVIRONMENT = {
    "LC_ALL": "C",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh",
    "GIT_SSH_COMMAND": "ssh -oBatchMode=yes",
    "GIT_HTTP_LOW_SPEED_LIMIT": "100",
    "GIT_HTTP_LOW_SPEED_TIME": "60",
}


class Checkout:
    """Puts one commit into the folder `repo` of a workspace."""

    def __init__(self, workspace: str, job: Job, environment: dict[str, str], watch: Watch) -> None:
        """Nothing is done yet."""
        self.folder = os.path.join(workspace, "repo")
        self._workspace = workspace
        self._source = job.clone
        self._branch = job.branch
        self._commit = job.commit_hash
        self._environment = ENVIRONMENT | {
            name: environment[name] for name in ("PATH", "HOME", "TMPDIR", MARKER) if name in environment
        }
        self._watch = watch

    def run(self, sink: Callable[[bytes], None]) -> None:
        """Make the folder. Raises `Failed`, when `sink` has got what git said."""
        if not is_commit(self._commit):
            raise Failed("clone", f"{self._commit[:80]!r} is no commit hash. Build a branch or a whole hash")
        borrow = objects_to_borrow(self._source.local_path)
        make_repository(self.folder, url=self._source.url, commit=self._commit, borrow=borrow)
        said = b""
        try:
            said = b"" if borrow else self._fetch()
            said = said or self._git("checkout", "-q", "--detach", self._commit)
        except FileNotFoundError:
            raise Failed("clone", "git is missing where builds run: apt-get install git") from None
        if said:
            sink(said if said.endswith(b"\n") else said + b"\n")
            raise Failed("clone", reason_of(said.decode("utf-8", "replace")))

    def _fetch(self) -> bytes:
        """Get the commit alone, or else all of its branch; what git said if neither can be had."""
        source = self._source
        path = os.path.join(self._workspace, "git-credentials")
        with Credentials(path, url=source.url, username=source.username, password=source.password) as options:
            said = self._persist(*options, *FETCH, "--depth=1", "origin", self._commit)
            # servers of old give out no commit but the tip of a branch
            if said and reason_of(said.decode("utf-8", "replace")) == GONE and is_branch(self._branch):
                said = self._persist(*options, *FETCH, "origin", f"refs/heads/{self._branch}")
        return said

    def _persist(self, *arguments: str) -> bytes:
        said = self._git(*arguments)
        for pause in PAUSES:
            if not said or reason_of(said.decode("utf-8", "replace")) != NETWORK:
                break
            gives_up = time.monotonic() + pause
            while (left := gives_up - time.monotonic()) > 0:
                self._watch.check()
                self._watch.bell.wait(min(left, self._watch.remaining))
            said = self._git(*arguments)
        return said

    def _git(self, *arguments: str) -> bytes:
        """Nothing if it went well, else what git said, or at least its exit code."""
        said: list[bytes] = []
        argv = ["git", *OPTIONS, *arguments]
        code = Command(argv, cwd=self.folder, env=self._environment, watch=self._watch).run(said.append)
        if code == 0:
            return b""
        return b"".join(said)[-SHOWN:] or b"git ended with code %d" % code
