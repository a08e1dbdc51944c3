"""The work of an attempt: initialize, clone, install, build, deploy; each timed and shown."""

from __future__ import annotations

import os
import time

from kedge_runner.clone import Checkout
from kedge_runner.command import Command
from kedge_runner.detect import detect, is_there, pip_commands
from kedge_runner.environment import base_environment, deploy_environment
from kedge_runner.errors import Cancelled, Failed, TimedOut
from kedge_runner.memory import out_of_memory_kills

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from kedge_runner.command import Watch
    from kedge_runner.job import Job
    from kedge_runner.log import Log

NOT_FOUND, NOT_EXECUTABLE, KILLED = 127, 126, 137


class Phases:
    """Runs the phases in order; `done` tells of each how long it took and how it ended."""

    def __init__(self, job: Job, workspace: str, log: Log, watch: Watch) -> None:
        """Nothing is done yet."""
        self._job = job
        self._workspace = workspace
        self._log = log
        self._watch = watch
        self._environment: dict[str, str] = {}
        self._folder = workspace
        self.done: list[dict[str, object]] = []

    def run(self, initialized: Callable[[], None]) -> None:
        """Do the work. Raises `Failed`, `Cancelled` or `TimedOut`; `initialized` is called on the way."""
        self._phase("initialize", self._initialize)
        initialized()
        self._phase("clone", self._clone)
        self._phase("install", self._install)
        if self._job.build_command:
            self._phase("build", self._build)
        if self._job.deploy_command:
            self._phase("deploy", self._deploy)

    def _phase(self, name: str, work: Callable[[], str | None]) -> None:
        started, began = time.time_ns() // 1_000_000, time.monotonic()
        outcome = "success"
        try:
            self._watch.check()
            outcome = work() or outcome
        except BaseException as error:
            outcome = _outcome(error)
            raise
        finally:
            took = round((time.monotonic() - began) * 1000)
            self.done.append({"name": name, "started_ms": started, "duration_ms": took, "outcome": outcome})

    def _initialize(self) -> None:
        self._environment = base_environment(self._workspace, self._job)
        self._log.say("Success: Finished initializing build environment")

    def _clone(self) -> None:
        self._log.say("Cloning repository...")
        checkout = Checkout(self._workspace, self._job, self._environment)
        checkout.run(self._log.write, self._watch)
        self._folder = self._root(checkout.folder)

    def _root(self, repository: str) -> str:
        """The folder to work in; a link cannot lead out of the repository."""
        wanted = self._job.root_directory.strip("/")
        folder = os.path.realpath(os.path.join(repository, wanted))
        inside = os.path.realpath(repository)
        if folder != inside and not folder.startswith(inside + os.sep):
            raise Failed("user", f"the root directory {wanted!r} lies outside of the repository")
        if not os.path.isdir(folder):
            raise Failed("user", f"the repository has no folder {wanted!r}; check the root directory")
        return folder

    def _install(self) -> str | None:
        if self._environment.get("SKIP_DEPENDENCY_INSTALL", "").lower() in {"1", "true"}:
            self._log.say("Skipping dependencies: SKIP_DEPENDENCY_INSTALL is set")
            return "skipped"
        managers = detect(self._folder)
        if not managers:
            return "skipped"
        for manager in managers:
            if not is_there(manager.tool, self._environment["PATH"]):
                message = f"{manager.tool} is missing where builds run: {manager.advice}"
                raise Failed("dependency", message)
            commands = pip_commands(self._workspace) if manager.tool == "pip" else [manager.argv]
            for argv in commands:
                self._log.say(f"Installing project dependencies: {' '.join(argv)}")
                self._execute(argv, self._environment, "dependency")
            if manager.tool == "pip":
                venv = os.path.join(self._workspace, "venv")
                self._environment |= {
                    "VIRTUAL_ENV": venv,
                    "PATH": f"{venv}/bin:{self._environment['PATH']}",
                }
        return None

    def _build(self) -> None:
        command = self._job.build_command
        self._log.say(f"Executing user build command: {command}")
        self._execute(["/bin/sh", "-c", command], self._environment, "user")
        self._log.say("Success: Build command completed")

    def _deploy(self) -> None:
        command = self._job.deploy_command
        self._log.say(f"Executing user deploy command: {command}")
        environment = self._environment | deploy_environment(self._job)
        self._execute(["/bin/sh", "-c", command], environment, "user")
        self._log.say("Success: Deploy command completed")

    def _execute(self, argv: list[str], environment: dict[str, str], failure: str) -> None:
        kills = out_of_memory_kills()
        try:
            command = Command(argv, cwd=self._folder, env=environment)
        except OSError as error:
            raise Failed(failure, f"{argv[0]} cannot be started: {error.strerror}") from error
        code = command.run(self._log.write, self._watch)
        if code == 0:
            return
        if code in {-9, KILLED} and out_of_memory_kills() > kills:
            raise Failed("out_of_memory", "the memory limit was hit and the kernel ended the command", code)
        raise Failed(failure, _meaning(code), code)


def _outcome(error: BaseException) -> str:
    if isinstance(error, Cancelled):
        return "cancelled"
    return "terminated" if isinstance(error, TimedOut) else "fail"


def _meaning(code: int) -> str:
    if code == NOT_FOUND:
        return "a command was not found (exit code 127); install it, or check how it is spelt"
    if code == NOT_EXECUTABLE:
        return "a file is not executable (exit code 126); make it so with chmod +x and commit that"
    if code < 0:
        return f"the command was ended by signal {-code}"
    return f"the command ended with exit code {code}"
