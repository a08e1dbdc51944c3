"""Which pushes a trigger builds: branch rules, path rules, and the marks that say not to."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kedge.contracts.forge import Push
    from kedge.db.tables import Trigger

SKIP_MARK = re.compile(r"\[(ci[ -]skip|skip[ -]ci|cf-pages-skip|kedge[ -]skip)\]", re.IGNORECASE)
#: past these a push is too large to judge by its paths, so it builds
MOST_PATHS = 3000
MOST_COMMITS = 20


def matches_branch(trigger: Trigger, branch: str) -> bool:
    """Whether the branch rules let a push of `branch` build."""
    return matches_rules(trigger.branch_includes, trigger.branch_excludes, branch)


def matches_rules(includes: Sequence[str], excludes: Sequence[str], text: str) -> bool:
    """Whether one of `includes` fits `text`, and none of `excludes`."""
    return _any(includes, text) and not _any(excludes, text)


def skip_reason(trigger: Trigger, push: Push) -> str | None:
    """Why a push that matches by branch is not built after all, or `None`."""
    if SKIP_MARK.search(push.commit_message.partition("\n")[0]):
        return "The commit message says to skip it."
    if not _paths_match(trigger, push):
        return "No changed file matches the watch paths."
    return None


def _paths_match(trigger: Trigger, push: Push) -> bool:
    paths = push.changed_paths
    if paths is None or not paths or len(paths) >= MOST_PATHS or push.commit_count >= MOST_COMMITS:
        return True
    includes = trigger.path_includes or ["*"]
    return any(matches_rules(includes, trigger.path_excludes, path) for path in paths)


def _any(patterns: Sequence[str], text: str) -> bool:
    return any(matches(pattern, text) for pattern in patterns)


def matches(pattern: str, text: str) -> bool:
    """`*` stands for any run of characters, `/` included; nothing else is special.

    Takes time in proportion to the text, whatever the pattern: patterns are written by users.
    """
    head, *rest = pattern.split("*")
    if not rest:
        return text == head
    *middle, tail = rest
    if not text.startswith(head):
        return False
    place = len(head)
    for part in middle:
        place = text.find(part, place)
        if place < 0:
            return False
        place += len(part)
    return len(text) - place >= len(tail) and text.endswith(tail)
