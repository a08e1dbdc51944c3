"""Mistakes in a configuration, said so that they can be mended at once."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from types import NoneType
from typing import TYPE_CHECKING, Any, TypeGuard, get_args

from pydantic import BaseModel

from kedge.config.wording import in_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

    from kedge.config.sources import KeyPath, Sources

#: what is said otherwise of a file than of a body
WORDING = {
    "missing": "is required",
    "string_type": "must be a text in quotes",
    "path_type": "must be a path, as a text in quotes",
}


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """One thing to mend. Never holds the value that was given: it may be a secret."""

    #: file and line, variable or option
    where: str
    path: KeyPath
    message: str

    def __str__(self) -> str:
        """`file:line: key.path: what is wrong`."""
        return ": ".join(filter(None, (self.where, dotted(self.path), self.message)))


def dotted(path: KeyPath) -> str:
    """The key's path as a reader writes it: `forges.use[1]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def nearest(name: str, known: Iterable[str]) -> str:
    """` did you mean "…"?`, or nothing if no known name is like it."""
    close = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f'; did you mean "{close[0]}"?' if close else ""


def choices(known: Iterable[str]) -> str:
    """Names in quotes, in order."""
    return ", ".join(f'"{name}"' for name in sorted(known)) or "none"


def unknown_key(name: str, known: Sequence[str]) -> str:
    """Says that a key is not known here, which one is like it, and which there are."""
    return f"unknown key{nearest(name, known) or ';'} known here: {choices(known)}"


def mistakes_of(
    error: ValidationError, model: type[BaseModel], sources: Sources, prefix: KeyPath = ()
) -> list[Mistake]:
    """What pydantic found in `model`, whose table is at `prefix`, in our words."""
    found = []
    for details in error.errors(include_url=False, include_input=False, include_context=True):
        location = tuple(part for part in details["loc"] if part != "[key]")
        path = prefix + location
        found.append(
            Mistake(where=sources.where(path), path=path, message=_message(details, model, location))
        )
    return found


def _message(details: ErrorDetails, model: type[BaseModel], location: KeyPath) -> str:
    kind = details["type"]
    parent = model_at(model, location[:-1])
    known = [] if parent is None else list(parent.model_fields)
    if kind == "extra_forbidden" or (kind == "dict_type" and location[-1] not in known and known):
        return unknown_key(str(location[-1]), known)
    return WORDING.get(kind) or in_words(details)


def model_at(model: type[BaseModel], location: KeyPath) -> type[BaseModel] | None:
    """The model of the table at `location` below `model`, if it is one of ours."""
    current: Any = model
    for part in location:
        if _is_model(current):
            info = current.model_fields.get(str(part))
            current = None if info is None else _not_none(info.annotation)
        else:
            current = next((one for one in get_args(current) if _is_model(one)), None)
    return current if _is_model(current) else None


def _not_none(annotation: Any) -> Any:
    members = [one for one in get_args(annotation) if one is not NoneType]
    return members[0] if NoneType in get_args(annotation) and len(members) == 1 else annotation


def _is_model(candidate: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(candidate, type) and issubclass(candidate, BaseModel)
