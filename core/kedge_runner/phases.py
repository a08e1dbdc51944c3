"""The work of an attempt: initialize, clone, install, build, deploy; each timed and shown."""

from __future__ import annotations

import os
import time

from kedge_runner.clone import Checkout
from kedge_runner.command import Command
from kedge_runner.environment import base_environment, deploy_environment
from kedge_runner.errors import Cancelled, Failed, Stale, TimedOut
from kedge_runner.install import Install
from kedge_runner.memory import out_of_memory_kills
from kedge_runner.verdict import meaning_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from kedge_runner.address import Address
    from kedge_runner.cache.caching import Caching
    from kedge_runner.job import Job
    from kedge_runner.log import Log
    from kedge_runner.watch import Watch


OUTSIDE = (
    "Not trusted: whoever sent this commit may not write to the repository. It gets no secret variables, "
    "saves no cache and deploys nothing"
)


class Phases:
    """Runs the phases in order; `done` tells of each how long it took and how it ended."""

    def __init__(self, job: Job, address: Address, workspace: str, log: Log, watch: Watch) -> None:
        """Nothing is done yet."""
        self._job = job
        self._address = address
        self._cache: Caching | None = None
        self._workspace = workspace
        self._log = log
        self._watch = watch
        self._environment: dict[str, str] = {}
        self._folder = workspace
        self.done: list[dict[str, object]] = []

    def run(self, initialized: Callable[[], None]) -> None:
        """Do the work; `initialized` is called on the way. Raises `Failed` or as the watch does."""
        self._phase("initialize", self._initialize)
        initialized()
        self._phase("clone", self._clone)
        if self._job.cache is not None:
            self._phase("restore_cache", self._restore_cache)
        self._phase("install", self._install)
        if self._cache is not None:
            self._cache.restore(after_install=True)
        if self._job.build_command:
            self._phase("build", self._build)
        if self._job.deploy_command:
            self._phase("deploy", self._deploy)
        if self._cache is not None:
            # not even a cancel makes a build that has done its work another one than it was
            self._phase("save_cache", self._cache.save, checked=False)

    def _phase(self, name: str, work: Callable[[], str | None], *, checked: bool = True) -> None:
        started, began = time.time_ns() // 1_000_000, time.monotonic()
        outcome = "success"
        try:
            if checked:
                self._watch.check()
            outcome = work() or outcome
        except BaseException as error:
            outcome = _outcome(error)
            raise
        finally:
            took = round((time.monotonic() - began) * 1000)
            self.done.append({"name": name, "started_ms": started, "duration_ms": took, "outcome": outcome})

    def _initialize(self) -> None:
        if not self._job.trusted:
            self._log.say(OUTSIDE)
        self._environment = base_environment(self._workspace, self._job)
        self._log.say("Success: Finished initializing build environment")

    def _clone(self) -> None:
        self._log.say("Cloning repository...")
        checkout = Checkout(self._workspace, self._job, self._environment, self._watch)
        checkout.run(self._log.write)
        self._folder = self._root(checkout.folder)
        self._log.say("Success: Finished cloning repository files")

    def _root(self, repository: str) -> str:
        """The folder to work in; neither `..` nor a link can lead out of the repository."""
        wanted = self._job.root_directory.strip("/")
        if "\0" in wanted:
            raise Failed("user", "the root directory holds a null byte; check it in the trigger's settings")
        inside = os.path.realpath(repository)
        folder = os.path.realpath(os.path.join(inside, wanted))
        if folder != inside and not folder.startswith(inside + os.sep):
            raise Failed("user", f"the root directory {wanted!r} lies outside of the repository")
        if not os.path.isdir(folder):
            raise Failed("user", f"the repository has no folder {wanted!r}; check the root directory")
        return folder

    def _restore_cache(self) -> str | None:
        # Only here: its imports are a price that a build without a cache does not pay.
        from kedge_runner.cache.caching import Caching

        self._cache = Caching(self._job, self._address, self._workspace, self._log, self._watch)
        self._cache.look_at(self._folder)
        return None if self._cache.restore(after_install=False) else "skipped"

    def _install(self) -> str | None:
        install = Install(self._folder, self._workspace, self._environment)
        did = install.run(
            self._log, self._watch, lambda command: self._execute(command, self._environment, "dependency")
        )
        return None if did else "skipped"

    def _build(self) -> None:
        command = self._job.build_command
        self._log.say(f"Executing user build command: {command}")
        self._execute(command, self._environment, "user")
        self._log.say("Success: Build command completed")

    def _deploy(self) -> str | None:
        command, deploy = self._job.deploy_command, self._job.deploy
        if deploy is None:
            self._log.say("Not deployed: this build is not trusted, and its deploy command was not run")
            return "skipped"
        self._log.say(f"Executing user deploy command: {command}")
        self._execute(command, self._environment | deploy_environment(self._job, deploy), "user")
        self._log.say("Success: Deploy command completed")
        return None

    def _execute(self, text: str, environment: dict[str, str], failure: str) -> None:
        kills = out_of_memory_kills()
        argv = ["/bin/sh", "-c", text]
        try:
            command = Command(argv, cwd=self._folder, env=environment, watch=self._watch)
        except (OSError, ValueError) as error:
            raise Failed(failure, f"the command cannot be started: {error}") from error
        code = command.run(self._log.write)
        if code == 0:
            return
        if out_of_memory_kills() > kills:
            raise Failed("out_of_memory", "the memory limit was hit, and the kernel ended a process", code)
        raise Failed(failure, meaning_of(code), code)


def _outcome(error: BaseException) -> str:
    if isinstance(error, Cancelled | Stale):
        return "cancelled"
    return "terminated" if isinstance(error, TimedOut) else "fail"
