"""Secrets by reference: a config file says where a secret is, never what it is."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator

from kedge.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:[^\x00\r\n]+", re.ASCII)
NO_REFERENCE = (
    'a secret is never written here, only where it is: "env:NAME" for a variable of the environment '
    'or "file:PATH" for a file'
)
LARGEST_SECRET = 64 * 1024


def is_reference(text: str) -> bool:
    """Whether `text` has the form of a reference to a secret."""
    return REFERENCE.fullmatch(text) is not None


def _reference(text: str) -> str:
    if not is_reference(text):
        raise ValueError(NO_REFERENCE)
    return text


#: where a secret is, as a setting; `Host.secret` gives what it stands for
SecretRef = Annotated[str, AfterValidator(_reference)]


def resolve_secret(ref: str, base_dir: Path, environ: Mapping[str, str] | None = None) -> str:
    """The secret that `env:NAME` or `file:PATH` (from `base_dir`) stands for.

    One line end at the end of a file is dropped. Raises `ConfigError`, which names the reference
    and never a value.
    """
    if not is_reference(ref):
        raise ConfigError([NO_REFERENCE])
    kind, _, place = ref.partition(":")
    if kind == "env":
        return _from_environment(place, os.environ if environ is None else environ)
    return _from_file(ref, base_dir / Path(place).expanduser())


def _from_environment(name: str, environ: Mapping[str, str]) -> str:
    value = environ.get(name)
    if not value:
        raise ConfigError([f"env:{name}: the environment variable {name} is not set or is empty; set it"])
    return value


def _from_file(ref: str, path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_SECRET + 1)
        text = data.decode()
    except UnicodeDecodeError:
        raise ConfigError([f"{ref}: the file is not UTF-8 text; encode it, for example as base64"]) from None
    except OSError as error:
        raise ConfigError([f"{ref}: the file cannot be read: {error.strerror}"]) from None
    if len(data) > LARGEST_SECRET:
        raise ConfigError([f"{ref}: the file is larger than {LARGEST_SECRET} bytes; a secret is smaller"])
    return text.removesuffix("\n").removesuffix("\r")
