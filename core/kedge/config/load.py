"""Reading settings: defaults, then the file, then the environment, then the command line."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from kedge.config.describe import describe_settings
from kedge.config.environment import CONFIG, from_environment, misspelt
from kedge.config.mistakes import Mistake, mistakes_of
from kedge.config.settings import Settings, default_data_dir
from kedge.config.sources import Sources
from kedge.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kedge.config.sources import KeyPath

LARGEST_FILE = 4 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Draft:
    """Settings that may hold mistakes; the mistaken keys have their defaults in `settings`."""

    settings: Settings
    mistakes: tuple[Mistake, ...]


def load(path: Path | None, environ: Mapping[str, str], overrides: Mapping[str, Any]) -> Settings:
    """The settings of a node. Raises `ConfigError` with every mistake there is.

    `path` is the file; without it, `KEDGE_CONFIG` of the environment, or none. `overrides` are what the
    command line said (`{"server": {"listen": …}}`); `None` means not said. What the chosen
    backends think of their own tables is found out by the registry.
    """
    draft = read(path, environ, overrides)
    if draft.mistakes:
        raise ConfigError([str(mistake) for mistake in draft.mistakes])
    return draft.settings


def read(path: Path | None, environ: Mapping[str, str], overrides: Mapping[str, Any]) -> Draft:
    """Like `load`, but hand out the mistakes. Raises `ConfigError` only for a file that cannot be read."""
    if path is None and environ.get(CONFIG):
        path = Path(environ[CONFIG])
    text, raw = _read_file(path)
    origins: dict[KeyPath, str] = {}
    environment = from_environment(environ, Settings.model_fields)
    for origin, keys, value in [*environment, *_flat(overrides)]:
        _put(raw, keys, value)
        origins[keys] = origin
    sources = Sources(file=path, text=text, origins=origins)
    _place_data_dir(raw, sources, environ)
    known = [one.key for one in describe_settings() if one.key != "workers"]
    return _validate(raw, sources, [*misspelt(environ, known)])


def _read_file(path: Path | None) -> tuple[str, dict[str, Any]]:
    if path is None:
        return "", {}
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
        if len(data) > LARGEST_FILE:
            raise ConfigError([f"{path}: is larger than {LARGEST_FILE} bytes; is it the right file?"])
        text = data.decode()
        return text, tomllib.loads(text)
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: is not UTF-8 text; TOML always is"]) from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError([f"{path}: is not TOML: {error}"]) from error


def _flat(
    overrides: Mapping[str, Any], prefix: tuple[str, ...] = ()
) -> Iterator[tuple[str, tuple[str, ...], Any]]:
    for key, value in overrides.items():
        keys = (*prefix, key)
        if isinstance(value, Mapping):
            yield from _flat(value, keys)
        elif value is not None:
            yield "command line", keys, value


def _put(raw: dict[str, Any], keys: tuple[str, ...], value: Any) -> None:
    table = raw
    for key in keys[:-1]:
        if not isinstance(table.get(key), dict):
            table[key] = {}
        table = table[key]
    table[keys[-1]] = value


def _place_data_dir(raw: dict[str, Any], sources: Sources, environ: Mapping[str, str]) -> None:
    """A relative data dir starts at the file that says it, or at the working folder."""
    server = raw.setdefault("server", {})
    if not isinstance(server, dict):
        return
    given = server.get("data_dir")
    if given is None:
        server["data_dir"] = default_data_dir(environ)
    elif isinstance(given, (str, Path)):
        in_file = sources.origin(("server", "data_dir")) is None
        base = sources.base_dir if in_file else Path.cwd()
        server["data_dir"] = base / os.path.expanduser(given)  # noqa: PTH111  (leaves an unknown user as it is)


def _validate(raw: dict[str, Any], sources: Sources, mistakes: list[Mistake]) -> Draft:
    """Check, take out what is mistaken, and check the rest again, so that there always are settings."""
    while True:
        try:
            settings = Settings.model_validate(raw, context=sources)
        except ValidationError as error:
            found = mistakes_of(error, Settings, sources)
            mistakes.extend(mistake for mistake in found if not _follows(mistake, mistakes))
            for table, key in [_mistaken(raw, mistake.path) for mistake in found]:
                table.pop(key, None)
        else:
            return Draft(settings=settings, mistakes=tuple(mistakes))


def _follows(mistake: Mistake, earlier: list[Mistake]) -> bool:
    """Whether a mistake in a table is there only because a mistaken key was taken out of it."""
    path = mistake.path
    return any(len(one.path) > len(path) and one.path[: len(path)] == path for one in earlier)


def _mistaken(raw: dict[str, Any], path: KeyPath) -> tuple[dict[str, Any], str]:
    """The table and the key to take out for a mistake at `path`; of a missing key, its whole table."""
    table: Any = raw
    owner, last = raw, str(path[0])
    for key in path:
        if not isinstance(table, dict) or key not in table:
            break
        owner, last, table = table, str(key), table[key]
    return owner, last
