"""The caches that a project declares itself, in `kedge.toml` or in its trigger."""

from __future__ import annotations

import os

from kedge_runner.cache.errors import CacheFailed
from kedge_runner.cache.unit import Unit, place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from kedge_runner.cache.keys import Keys

FILE = "kedge.toml"
LARGEST_FILE = 256 * 1024
MOST_DECLARED = 20
KNOWN = {"name", "paths", "key", "restore_keys"}


def read_declared(folder: str) -> list[Any]:
    """The tables `[[cache]]` of the project's `kedge.toml`. Raises `CacheFailed`."""
    import tomllib

    try:
        with open(os.path.join(folder, FILE), "rb") as file:
            data = tomllib.loads(file.read(LARGEST_FILE).decode())
    except FileNotFoundError:
        return []
    except (OSError, ValueError, RecursionError) as error:
        raise CacheFailed(f"{FILE} cannot be read: {error}") from error
    tables = data.get("cache", [])
    if not isinstance(tables, list) or len(tables) > MOST_DECLARED:
        raise CacheFailed(f"{FILE} may hold up to {MOST_DECLARED} tables [[cache]], each with name and paths")
    return tables


def make_unit(table: Any, root: str, keys: Keys) -> Unit:
    """The unit that a table declares. Raises `CacheFailed`."""
    if not isinstance(table, dict) or not isinstance(table.get("name"), str):
        raise CacheFailed("a cache needs a name")
    name = table["name"]
    if unknown := table.keys() - KNOWN:
        raise CacheFailed(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(sorted(KNOWN))}")
    paths = list(_texts(table, "paths"))
    key = table.get("key") or name
    if not isinstance(key, str):
        raise CacheFailed("key must be a text in quotes")
    return Unit(
        name,
        [place(path, root) for path in paths],
        key=keys.fill(key),
        restore_keys=[keys.fill(one) for one in _texts(table, "restore_keys")],
    )


def _texts(table: dict[str, Any], name: str) -> Iterator[str]:
    given = table.get(name) or []
    if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
        raise CacheFailed(f"{name} must be a list of texts")
    yield from given
