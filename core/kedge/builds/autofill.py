"""What a repository tells of how to build it, for those who fill in a trigger."""

from __future__ import annotations

import asyncio
import json
import re
import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kedge.errors import NotFound, TooLarge

if TYPE_CHECKING:
    from collections.abc import Collection

    from kedge.contracts.forge import Forge, Repo

#: bytes of the largest file that is looked into
LARGEST = 64 * 1024
MANIFEST = "package.json"
#: the first that is there counts
CONFIG_FILES = ("wrangler.json", "wrangler.jsonc", "wrangler.toml")
LOCKFILES = {
    "pnpm-lock.yaml": "pnpm",
    "yarn.lock": "yarn",
    "bun.lock": "bun",
    "bun.lockb": "bun",
    "package-lock.json": "npm",
    "npm-shrinkwrap.json": "npm",
    "uv.lock": "uv",
}
MANAGERS = frozenset(LOCKFILES.values())
#: dots in a line of TOML: the parser takes the square of the time for a longer key
MOST_DOTS = 100
#: a text, a comment, or a comma with nothing behind it: what JSON with comments has to be rid of. What is
#: not ended is taken up to the file's end, as the next try would else read all of that again.
TEXT = r'("(?:\\.|[^"\\])*+"?)'
COMMENTS = re.compile(TEXT + r"|//[^\n]*|/\*.*?(?:\*/|\Z)", re.DOTALL)
LAST_COMMAS = re.compile(TEXT + r"|,(?=\s*[}\]])", re.DOTALL)


@dataclass(kw_only=True)
class Autofill:
    """What was found; a file that cannot be understood is named in `unreadable`."""

    config_file: str | None = None
    default_worker_name: str | None = None
    env_worker_names: dict[str, str] = field(default_factory=dict)
    package_manager: str | None = None
    scripts: dict[str, str] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)


async def autofill(forge: Forge, repo: Repo, branch: str, folder: str) -> Autofill:
    """Look at `folder` of a branch's newest commit. Raises `NotFound`."""
    commit = (await forge.resolve(repo, branch)).commit_hash
    names = set(await forge.list_folder(repo, commit, folder))
    if folder and not names:
        raise NotFound(f"{branch} has no files in the folder {folder!r}; name the one that holds the project")
    found = Autofill(config_file=next((name for name in CONFIG_FILES if name in names), None))
    wanted = [name for name in (MANIFEST, found.config_file) if name in names and name is not None]
    tables = {name: await _read(forge, repo, commit, f"{folder}/{name}".lstrip("/")) for name in wanted}
    found.unreadable = [name for name, table in tables.items() if table is None]
    manifest, config = tables.get(MANIFEST) or {}, tables.get(found.config_file or "") or {}
    _take_names(found, config)
    found.scripts = _texts(manifest.get("scripts"))
    found.package_manager = _manager(names, manifest)
    if folder and found.package_manager in {None, "npm"} and not names & LOCKFILES.keys():
        # in a monorepo the lockfile lies at its root
        above = set(await forge.list_folder(repo, commit, ""))
        found.package_manager = _manager(above, {}) or found.package_manager
    return found


async def _read(forge: Forge, repo: Repo, commit: str, path: str) -> dict[str, Any] | None:
    try:
        data = await forge.read_file(repo, commit, path, limit=LARGEST)
        return await asyncio.to_thread(parse, path, data)
    except (NotFound, TooLarge, ValueError, RecursionError):
        return None


def parse(path: str, data: bytes) -> dict[str, Any]:
    """A file's table, by its name's ending. Raises `ValueError`, or `RecursionError`."""
    text = data.decode()
    if path.endswith(".toml"):
        return _parse_toml(text)
    if path.rpartition("/")[2] != MANIFEST:
        text = LAST_COMMAS.sub(_keep_text, COMMENTS.sub(_keep_text, text))
    table = json.loads(text)
    if not isinstance(table, dict):
        raise ValueError("it holds no table")  # noqa: TRY004  (of the text, as all that is wrong with it)
    return table


def _parse_toml(text: str) -> dict[str, Any]:
    if max(line.count(".") for line in text.split("\n")) > MOST_DOTS:
        raise ValueError(f"it has a line of more than {MOST_DOTS} dots")
    return tomllib.loads(text)


def _keep_text(found: re.Match[str]) -> str:
    return found[1] or ""


def _take_names(found: Autofill, config: dict[str, Any]) -> None:
    name, environments = config.get("name"), config.get("env")
    found.default_worker_name = name if isinstance(name, str) else None
    if not isinstance(environments, dict):
        return
    for environment, table in environments.items():
        own = table.get("name") if isinstance(table, dict) else None
        if isinstance(own, str):
            found.env_worker_names[environment] = own
        elif found.default_worker_name is not None:
            found.env_worker_names[environment] = f"{found.default_worker_name}-{environment}"


def _manager(names: Collection[str], manifest: dict[str, Any]) -> str | None:
    locked = [manager for lockfile, manager in LOCKFILES.items() if lockfile in names]
    named = str(manifest.get("packageManager", "")).partition("@")[0]
    if named in MANAGERS and (named in locked or not locked):
        return named
    return locked[0] if locked else "npm" if MANIFEST in names else None


def _texts(table: Any) -> dict[str, str]:
    pairs = table.items() if isinstance(table, dict) else ()
    return {key: value for key, value in pairs if isinstance(value, str)}
