"""Tokens of runners that this node has met or is about to meet, so that few calls cost a query."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kedge.contracts.attempt_name import AttemptName

MOST_KNOWN = 1024


class RunnerTokens:
    """Attempts by the hash of their token, the longest known forgotten first."""

    def __init__(self) -> None:
        """Nobody is known yet."""
        self._known: OrderedDict[str, AttemptName] = OrderedDict()

    def remember(self, token_hash: str, attempt: AttemptName) -> None:
        """This token is good for that attempt."""
        self._known[token_hash] = attempt
        if len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)

    def find(self, token_hash: str) -> AttemptName | None:
        """The attempt that a token is good for, if it is known here."""
        return self._known.get(token_hash)

    def forget_build(self, build_uuid: str) -> None:
        """Another node may have ended its attempt: ask the database again."""
        for token_hash in [one for one, attempt in self._known.items() if attempt.build_uuid == build_uuid]:
            del self._known[token_hash]

    def forget(self, attempt: AttemptName) -> None:
        """The attempt has ended, and its token with it."""
        for token_hash, known in self._known.items():
            if known == attempt:
                del self._known[token_hash]
                return
