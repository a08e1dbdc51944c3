"""The folders worth caching that a project's own files tell of."""

from __future__ import annotations

import os

from kedge_runner.cache.unit import Unit, place
from kedge_runner.detect import JAVASCRIPT, LARGEST_MANIFEST, PIP, PYTHON, detect
from kedge_runner.jsontext import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from kedge_runner.cache.keys import Keys
    from kedge_runner.detect import Manager

#: where each package manager keeps what it has downloaded
MANAGER_PATHS = {
    "npm": ("~/.npm",),
    "yarn": ("~/.cache/yarn", "~/.yarn/berry/cache"),
    "pnpm": ("~/.pnpm-store", "~/.local/share/pnpm/store"),
    "bun": ("~/.bun/install/cache",),
    "uv": ("~/.cache/uv",),
    "poetry": ("~/.cache/pypoetry",),
    "python3": ("~/.cache/pip",),
}
#: what a package manager writes anew each time, and nobody reads
MANAGER_EXCLUDES = {
    "npm": ("~/.npm/_logs", "~/.npm/_cacache/tmp", "~/.npm/_update-notifier-last-checked"),
    "poetry": ("~/.cache/pypoetry/virtualenvs",),
}
NAMES = {"python3": "pip"}

#: by the package that a project depends on: the name, and what the framework keeps between builds
FRAMEWORKS = {
    "astro": ("astro", ("node_modules/.astro",)),
    "@docusaurus/core": ("docusaurus", ("node_modules/.cache", ".docusaurus", "build")),
    "@11ty/eleventy": ("eleventy", (".cache",)),
    "gatsby": ("gatsby", (".cache", "public")),
    "next": ("next", (".next/cache",)),
    "nuxt": ("nuxt", ("node_modules/.cache/nuxt",)),
    "@sveltejs/kit": ("sveltekit", ("node_modules/.cache/imagetools",)),
}


def find_units(folder: str, root: str, keys: Keys) -> Iterator[Unit]:
    """Units of the project in `folder`, which lies at `root` of the workspace."""
    lockfiles = [lockfile for manager in detect(folder) if (lockfile := _lockfile(folder, manager))]
    for manager, lockfile in zip(detect(folder), lockfiles, strict=False):
        yield _unit(
            NAMES.get(manager.tool, manager.tool),
            MANAGER_PATHS[manager.tool],
            keys.hash(lockfile),
            root=root,
            excludes=MANAGER_EXCLUDES.get(manager.tool, ()),
            locked=manager is not PIP,
        )
    packages = _packages(os.path.join(folder, "package.json"))
    locked = keys.hash(lockfiles[0]) if lockfiles else "none"
    for package, (name, paths) in FRAMEWORKS.items():
        if package in packages:
            yield _unit(name, paths, locked, root=root)


def _unit(
    name: str,
    paths: tuple[str, ...],
    digest: str,
    *,
    root: str,
    excludes: tuple[str, ...] = (),
    locked: bool = False,
) -> Unit:
    return Unit(
        name,
        [place(path, root) for path in paths],
        key=f"{name}-{digest}",
        restore_keys=[f"{name}-"],
        excludes=[place(path, root) for path in excludes],
        locked=locked,
    )


def _lockfile(folder: str, manager: Manager) -> str:
    known = (name for name, one in (*JAVASCRIPT, *PYTHON) if one.tool == manager.tool)
    return next((name for name in known if os.path.isfile(os.path.join(folder, name))), "")


def _packages(manifest: str) -> set[str]:
    """The names that package.json depends on."""
    try:
        with open(manifest, "rb") as file:
            data: Any = loads(file.read(LARGEST_MANIFEST))
    except (OSError, ValueError, RecursionError):
        return set()
    if not isinstance(data, dict):
        return set()
    tables = (data.get("dependencies"), data.get("devDependencies"))
    return {name for table in tables if isinstance(table, dict) for name in table}
