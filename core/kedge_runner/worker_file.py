"""`[worker]` in the `kedge.toml` beside the code: what the worker is, and how it runs."""

from __future__ import annotations

import os
import shlex

from kedge_runner.files import DeployFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NAME = "kedge.toml"
STATIC, ASGI, COMMAND, IMAGE = "static", "asgi", "command", "image"
KINDS = (STATIC, ASGI, COMMAND, IMAGE)
KEYS: dict[str, type | tuple[type, ...]] = {
    "kind": str,
    "entry": (str, list),
    "directory": str,
    "image": str,
    "health": str,
    "concurrency": int,
    "max_instances": int,
    "memory": (int, str),
    "variables": dict,
    "placement": dict,
}
UNITS = {"KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}


class WorkerFile:
    """What `[worker]` says. Without a file, or without the table, a worker is static."""

    def __init__(self, table: dict[str, Any]) -> None:
        """Check the table. Raises `DeployFailed` with the key that is wrong and what it may be."""
        for key, value in table.items():
            if key not in KEYS:
                raise _wrong(key, f"is no key that there is; there are {', '.join(KEYS)}")
            if not isinstance(value, KEYS[key]) or isinstance(value, bool):
                raise _wrong(key, f"cannot be {value!r}")
        self.kind: str = table.get("kind", STATIC)
        if self.kind not in KINDS:
            raise _wrong("kind", f"must be one of {', '.join(KINDS)}, not {self.kind!r}")
        self.directory: str | None = table.get("directory")
        self._table = table
        unused = sorted(set(table) - {"kind", "directory"}) if self.kind == STATIC else []
        if unused:
            raise _wrong(unused[0], "is for workers that run: name their `kind`")

    @classmethod
    def read(cls, folder: str) -> WorkerFile:
        """The file of a folder. Raises `DeployFailed`."""
        path = os.path.join(folder, NAME)
        if not os.path.exists(path):
            return cls({})
        import tomllib

        try:
            with open(path, "rb") as file:
                table = tomllib.load(file).get("worker", {})
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise DeployFailed(f"{NAME} cannot be read: {error}") from None
        if not isinstance(table, dict):
            raise DeployFailed(f"{NAME}: `worker` must be a table, [worker]")
        return cls(table)

    @property
    def run(self) -> dict[str, Any] | None:
        """How it runs, as Kedge wants to hear it; `None` if it is static. Raises `DeployFailed`."""
        if self.kind == STATIC:
            return None
        taken = ("image", "health", "concurrency", "max_instances", "variables", "placement")
        run = {key: self._table[key] for key in taken if key in self._table}
        if "entry" in self._table:
            run["entry"] = _entry(self._table["entry"])
        if "memory" in self._table:
            run["memory_bytes"] = _bytes(self._table["memory"])
        return run


def _entry(value: str | list[Any]) -> list[str]:
    if isinstance(value, list):
        if not all(isinstance(argument, str) for argument in value):
            raise _wrong("entry", "must be a text, or a list of texts")
        return value
    try:
        return shlex.split(value)
    except ValueError as error:
        raise _wrong("entry", f"cannot be split into arguments ({error}); write it as a list") from None


def _bytes(value: int | str) -> int:
    if isinstance(value, int):
        return value
    number, _, unit = value.partition(" ")
    if number.isdecimal() and unit in UNITS:
        return int(number) * UNITS[unit]
    raise _wrong("memory", f'must be a number of bytes or a text such as "256 MiB", not {value!r}')


def _wrong(key: str, what: str) -> DeployFailed:
    return DeployFailed(f"{NAME}: worker.{key} {what}")
