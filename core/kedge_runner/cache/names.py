"""Which names and links may be in an archive."""

from __future__ import annotations

from kedge_runner.cache.errors import CacheFailed
from kedge_runner.cache.limits import LONGEST_NAME, MOST_DEPTH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def check_name(name: bytes, within: Sequence[bytes]) -> None:
    """Raise `CacheFailed` unless a name is relative, plain, and one of `within` or below it."""
    parts = name.split(b"/")
    if not name or len(name) > LONGEST_NAME or len(parts) > MOST_DEPTH or b"\0" in name:
        raise CacheFailed(f"a member's name is empty or too long: {name[:80]!r}")
    if any(part in {b"", b".", b".."} for part in parts):
        raise CacheFailed(f"a member's name leads elsewhere: {name[:80]!r}")
    if not any(name == one or name.startswith(one + b"/") for one in within):
        raise CacheFailed(f"a member lies outside of the declared paths: {name[:80]!r}")


def link_stays(name: bytes, target: bytes) -> bool:
    """Whether the link `name` leads to a place in the same first folder, whatever other links there are.

    `..` may only stand at the beginning: after another link's name it would not mean what it seems to.
    """
    if not target or len(target) > LONGEST_NAME or b"\0" in target or target.startswith(b"/"):
        return False
    parts = [part for part in target.split(b"/") if part not in {b"", b"."}]
    ups = next((index for index, part in enumerate(parts) if part != b".."), len(parts))
    return b".." not in parts[ups:] and ups <= name.count(b"/") - 1
