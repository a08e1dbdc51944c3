"""The install phase: which tools there are, and the project's dependencies."""

from __future__ import annotations

import os

from kedge_runner.command import Command
from kedge_runner.detect import PIP, POETRY, detect
from kedge_runner.errors import Failed
from kedge_runner.processes import find_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from kedge_runner.detect import Manager
    from kedge_runner.log import Log
    from kedge_runner.watch import Watch

SKIP = "SKIP_DEPENDENCY_INSTALL"


class Install:
    """Installs what lockfiles ask for; commands that follow find it by their environment."""

    def __init__(self, folder: str, workspace: str, environment: dict[str, str]) -> None:
        """`environment` is changed where the installed needs it."""
        self._folder = folder
        self._workspace = workspace
        self._environment = environment

    def run(self, log: Log, watch: Watch, execute: Callable[[str], None]) -> bool:
        """Install by `execute`, which runs a command. Whether there was anything to do. Raises `Failed`."""
        if self._environment.get(SKIP, "").lower() in {"1", "true"}:
            log.say(f"Skipping the installation of dependencies: {SKIP} is set")
            return False
        managers = detect(self._folder)
        if not managers:
            return False
        for manager in managers:
            self._require(manager)
        tools = dict.fromkeys(tool for manager in managers for tool in (manager.tool, manager.beside))
        found = ", ".join(f"{tool}@{self._version(tool, watch)}" for tool in tools)
        log.say(f"Detected the following tools from environment: {found}")
        for manager in managers:
            self._prepare(manager)
            log.say(f"Installing project dependencies: {manager.command}")
            execute(manager.command)
            self._activate(manager)
        log.say("Success: Finished installing project dependencies")
        return True

    def _require(self, manager: Manager) -> None:
        for tool in (manager.tool, manager.beside):
            if find_program(tool, self._environment["PATH"]) is None:
                advice = manager.advice if tool == manager.tool else f"apt-get install {tool}"
                raise Failed("dependency", f"{tool} is missing where builds run. To get it: {advice}")

    def _version(self, tool: str, watch: Watch) -> str:
        """What the tool that really runs says of itself."""
        said: list[bytes] = []
        command = Command([tool, "--version"], cwd=self._folder, env=self._environment, watch=watch)
        if command.run(said.append) != 0:
            return "unknown"
        words = b"".join(said)[:4096].decode("utf-8", "replace").split()
        number = next((word for word in words if word.lstrip("v")[:1].isdigit()), "unknown")
        return number.lstrip("v").rstrip(")")

    def _prepare(self, manager: Manager) -> None:
        if manager is PIP:
            self._environment["VIRTUAL_ENV"] = os.path.join(self._workspace, "venv")
        elif manager is POETRY:
            self._environment.setdefault("POETRY_VIRTUALENVS_IN_PROJECT", "true")

    def _activate(self, manager: Manager) -> None:
        """Let the commands that follow find what was installed."""
        if manager.beside != "python3":
            return
        folder = self._environment.setdefault("VIRTUAL_ENV", os.path.join(self._folder, ".venv"))
        self._environment["PATH"] = f"{folder}/bin:{self._environment['PATH']}"
