"""Which version of a split deployment a request gets.

As Workers does it: `Cloudflare-Workers-Version-Overrides: worker="version id"` asks for one of the
deployment's versions, and requests with the same `Cloudflare-Workers-Version-Key` get the same version. As a
version's share grows, keys that have it keep it. Any other request is given to one by chance.
"""

from __future__ import annotations

import random
import re
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

OVERRIDES = b"cloudflare-workers-version-overrides"
KEY = b"cloudflare-workers-version-key"
#: a member of a dictionary as structured headers write it, whose value is a string
MEMBER = re.compile(r"[\x20\t]*([a-z*][a-z0-9_.*-]*)[\x20\t]*=[\x20\t]*\"([0-9a-fA-F-]{1,64})\"[\x20\t]*")


def choose(worker: str, shares: Sequence[tuple[str, float]], headers: Mapping[bytes, bytes]) -> int:
    """The place of the version that serves, among `shares` of version ids and percentages."""
    if OVERRIDES in headers:
        wanted = _overrides(headers[OVERRIDES]).get(worker)
        for place, (version_id, _) in enumerate(shares):
            if version_id == wanted:
                return place
    if KEY in headers:
        return _at(shares, _point(worker, headers[KEY]))
    return _at(shares, random.random() * 100)  # noqa: S311  (no secret hangs on it)


def _at(shares: Sequence[tuple[str, float]], point: float) -> int:
    """The version whose part of 0 to 100 holds the point. The newest one's part begins at 0."""
    end = 0.0
    for place, (_, percentage) in enumerate(shares):
        end += percentage
        if point < end:
            return place
    return max(range(len(shares)), key=lambda place: shares[place][1])


def _point(worker: str, key: bytes) -> float:
    digest = sha256(worker.encode() + b"\0" + key).digest()
    return int.from_bytes(digest[:8]) / 2**64 * 100


@lru_cache(maxsize=256)
def _overrides(header: bytes) -> dict[str, str]:
    """Read the header; one that is malformed counts as none."""
    found = [MEMBER.fullmatch(member) for member in header.decode("latin-1").split(",")]
    if not all(found):
        return {}
    return {match[1]: match[2].lower() for match in found if match is not None}
