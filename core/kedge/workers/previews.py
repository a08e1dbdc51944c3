"""Names under which versions that are not in production can be seen."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING

from kedge.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_LABEL = 63
HASH_LENGTH = 4
#: of a version's id, in the host of its own preview
PREFIX_LENGTH = 8

ALIAS = re.compile(r"[a-z](?:[a-z0-9-]*[a-z0-9])?")
VERSION_PREFIX = re.compile(rf"[0-9a-f]{{{PREFIX_LENGTH}}}")


def alias_of_branch(branch: str, worker: str) -> str | None:
    """The preview alias of a branch, as wrangler makes it; `None` if the branch cannot have one.

    A name too long for a DNS label is cut, and told from others by the hash of the whole branch; so is one
    from the beginnings of versions' ids that looks like such a one.
    """
    alias = re.sub(r"-+", "-", re.sub(r"[^a-zA-Z0-9-]", "-", branch)).strip("-").lower()
    if not ALIAS.fullmatch(alias):
        return None
    room = LONGEST_LABEL - len(worker) - 1
    if len(alias) <= room and not VERSION_PREFIX.fullmatch(alias):
        return alias
    room -= HASH_LENGTH + 1
    if room < 1:
        return None
    return f"{alias[:room]}-{sha256(branch.encode()).hexdigest()[:HASH_LENGTH]}"


def check_alias(alias: str, worker: str) -> None:
    """Raise `InvalidInput` unless `alias-worker` is a DNS label that begins with a letter."""
    if not ALIAS.fullmatch(alias):
        raise InvalidInput(
            f"the alias {alias[:80]!r} must begin with a letter, end with a letter or digit, "
            "and hold only a-z, 0-9 and dashes"
        )
    if VERSION_PREFIX.fullmatch(alias):
        raise InvalidInput(f"the alias {alias!r} could be the beginning of a version's id: choose another")
    if len(alias) + 1 + len(worker) > LONGEST_LABEL:
        raise InvalidInput(
            f"the alias {alias[:80]!r} is too long: with the worker's name and a dash "
            f"it may have {LONGEST_LABEL} characters"
        )


def splits(label: str) -> Iterator[tuple[str, str]]:
    """Every way to read a host's label as `alias-worker`, the longest worker name first."""
    at = label.find("-")
    while at != -1:
        if 0 < at < len(label) - 1:
            yield label[:at], label[at + 1 :]
        at = label.find("-", at + 1)
