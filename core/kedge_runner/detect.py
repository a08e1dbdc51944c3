"""Finds out how a project's dependencies are installed, by its lockfiles."""

from __future__ import annotations

import os

from kedge_runner.jsontext import loads

LARGEST_MANIFEST = 1024 * 1024


class Manager:
    """A package manager: the tool, what else it needs, the command that installs exactly what is locked."""

    def __init__(self, tool: str, command: str, advice: str, *, beside: str) -> None:
        """`advice` tells how to get the tool; `beside` is shown with its version too."""
        self.tool = tool
        self.command = command
        self.advice = advice
        self.beside = beside


NPM = Manager("npm", "npm ci", "apt-get install npm", beside="node")
PNPM = Manager("pnpm", "pnpm install --frozen-lockfile", "npm install -g pnpm", beside="node")
YARN = Manager("yarn", "yarn install --frozen-lockfile", "npm install -g yarn", beside="node")
BERRY = Manager("yarn", "yarn install --immutable", "corepack enable", beside="node")
BUN = Manager("bun", "bun install --frozen-lockfile", "npm install -g bun", beside="bun")
UV = Manager("uv", "uv sync --frozen", "pip install uv", beside="python3")
POETRY = Manager("poetry", "poetry install --no-interaction", "pipx install poetry", beside="python3")
PIP = Manager(
    "python3",
    'python3 -m venv "$VIRTUAL_ENV" && '
    '"$VIRTUAL_ENV/bin/python" -m pip install --disable-pip-version-check -r requirements.txt',
    "apt-get install python3-venv",
    beside="python3",
)

#: of each kind the first that is found is used
JAVASCRIPT = (
    ("pnpm-lock.yaml", PNPM),
    ("yarn.lock", YARN),
    ("bun.lock", BUN),
    ("bun.lockb", BUN),
    ("package-lock.json", NPM),
    ("npm-shrinkwrap.json", NPM),
)
PYTHON = (("uv.lock", UV), ("poetry.lock", POETRY), ("requirements.txt", PIP))


def detect(folder: str) -> list[Manager]:
    """The managers whose lockfiles lie in `folder`: at most one for JavaScript and one for Python."""
    there = set(os.listdir(folder))
    scripts = [manager for lockfile, manager in JAVASCRIPT if lockfile in there]
    if len(scripts) > 1:
        named = _named_manager(os.path.join(folder, "package.json"))
        scripts = [manager for manager in scripts if manager.tool == named] or scripts
    if scripts[:1] == [YARN] and ".yarnrc.yml" in there:
        scripts = [BERRY]
    return scripts[:1] + [manager for lockfile, manager in PYTHON if lockfile in there][:1]


def _named_manager(manifest: str) -> str:
    """What `packageManager` in package.json says, without the version."""
    try:
        with open(manifest, "rb") as file:
            data = loads(file.read(LARGEST_MANIFEST))
    except (OSError, ValueError, RecursionError):
        return ""
    return str(data.get("packageManager", "")).partition("@")[0] if isinstance(data, dict) else ""
