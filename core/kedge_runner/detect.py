"""Finds out how a project's dependencies are installed, by its lockfile."""

from __future__ import annotations

import os
import shutil

#: lockfile, tool, the command that installs exactly what it says, how to get the tool
MANAGERS: tuple[tuple[str, str, list[str], str], ...] = (
    ("package-lock.json", "npm", ["npm", "ci"], "apt-get install npm"),
    ("npm-shrinkwrap.json", "npm", ["npm", "ci"], "apt-get install npm"),
    ("pnpm-lock.yaml", "pnpm", ["pnpm", "install", "--frozen-lockfile"], "npm install -g pnpm"),
    ("yarn.lock", "yarn", ["yarn", "install", "--frozen-lockfile"], "npm install -g yarn"),
    ("bun.lock", "bun", ["bun", "install", "--frozen-lockfile"], "npm install -g bun"),
    ("bun.lockb", "bun", ["bun", "install", "--frozen-lockfile"], "npm install -g bun"),
    ("uv.lock", "uv", ["uv", "sync", "--frozen"], "pip install uv"),
    ("poetry.lock", "poetry", ["poetry", "install", "--no-interaction"], "pipx install poetry"),
    ("requirements.txt", "pip", [], "apt-get install python3-venv"),
)


class Manager:
    """A package manager that a project uses."""

    def __init__(self, tool: str, argv: list[str], advice: str) -> None:
        """`argv` installs; `advice` tells how to get the tool."""
        self.tool = tool
        self.argv = argv
        self.advice = advice


def detect(folder: str) -> list[Manager]:
    """The managers whose lockfiles lie in `folder`, one for each tool."""
    found: dict[str, Manager] = {}
    for lockfile, tool, argv, advice in MANAGERS:
        if tool not in found and os.path.isfile(os.path.join(folder, lockfile)):
            if tool == "yarn" and os.path.isfile(os.path.join(folder, ".yarnrc.yml")):
                found[tool] = Manager(tool, ["yarn", "install", "--immutable"], advice)
            else:
                found[tool] = Manager(tool, argv, advice)
    if "uv" in found or "poetry" in found:
        found.pop("pip", None)
    return list(found.values())


def is_there(tool: str, path: str) -> bool:
    """Whether a tool can be called."""
    return shutil.which("python3" if tool == "pip" else tool, path=path) is not None


def pip_commands(workspace: str) -> list[list[str]]:
    """How requirements are installed: into an environment beside the repository."""
    venv = os.path.join(workspace, "venv")
    pip = [os.path.join(venv, "bin", "python"), "-m", "pip", "install", "--disable-pip-version-check"]
    return [["python3", "-m", "venv", venv], [*pip, "-r", "requirements.txt"]]
