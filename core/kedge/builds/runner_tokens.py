"""Tokens of runners that this node has met or is about to meet, so that few calls cost a query."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kedge.contracts.log_store import LogKey

MOST_KNOWN = 1024


class RunnerTokens:
    """Attempts by the hash of their token, the longest known forgotten first."""

    def __init__(self) -> None:
        """Nobody is known yet."""
        self._known: OrderedDict[str, LogKey] = OrderedDict()

    def remember(self, token_hash: str, key: LogKey) -> None:
        """This token is good for that attempt."""
        self._known[token_hash] = key
        if len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)

    def find(self, token_hash: str) -> LogKey | None:
        """The attempt that a token is good for, if it is known here."""
        return self._known.get(token_hash)

    def forget_build(self, build_uuid: str) -> None:
        """Another node may have ended its attempt: ask the database again."""
        for token_hash in [one for one, key in self._known.items() if key.build_uuid == build_uuid]:
            del self._known[token_hash]

    def forget(self, key: LogKey) -> None:
        """The attempt has ended, and its token with it."""
        for token_hash, known in self._known.items():
            if known == key:
                del self._known[token_hash]
                return
