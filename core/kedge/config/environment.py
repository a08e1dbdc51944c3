"""Settings from environment variables: `KEDGE_SERVER__LISTEN` is `listen` of `[server]`."""

from __future__ import annotations

import tomllib
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from kedge.config.mistakes import Mistake, nearest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

PREFIX = "KEDGE_"
DATA_DIR = "KEDGE_DATA_DIR"
CONFIG = "KEDGE_CONFIG"
#: what clients and runners read; no settings of the node
FOREIGN = frozenset({"KEDGE_URL", "KEDGE_TOKEN", "KEDGE_ACCOUNT", CONFIG, DATA_DIR})


def from_environment(
    environ: Mapping[str, str], top_level: Collection[str]
) -> Iterator[tuple[str, tuple[str, ...], Any]]:
    """Yield variable, path and value of every setting; an empty variable counts as not set.

    A value that is a TOML list or table is read as such, any other is text.
    """
    if environ.get(DATA_DIR):
        yield DATA_DIR, ("server", "data_dir"), environ[DATA_DIR]
    for variable in sorted(environ):
        key = variable.removeprefix(PREFIX).lower()
        named = variable.startswith(PREFIX) and variable not in FOREIGN
        if named and environ[variable] and ("__" in key or key in top_level):
            yield variable, tuple(key.split("__")), _value(environ[variable])


def misspelt(environ: Mapping[str, str], settings: Collection[str]) -> Iterator[Mistake]:
    """Variables that are no setting but look very much like one, as `KEDGE_SERVER_LISTEN` does.

    Other names are let be: builds and clients use the same prefix.
    """
    known = {PREFIX + key.replace(".", "_").upper(): key for key in settings}
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or "__" in variable or variable in FOREIGN:
            continue
        close = get_close_matches(variable, known, n=1, cutoff=0.93)
        if close and known[close[0]] != variable.removeprefix(PREFIX).lower():
            meant = PREFIX + known[close[0]].replace(".", "__").upper()
            yield Mistake(where=variable, path=(), message=f"is no setting{nearest(meant, [meant])}")


def _value(text: str) -> Any:
    if not text.lstrip().startswith(("[", "{")):
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
