"""What triggers may say. A rule that could never match is refused, with the reason."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from kedge.config.wording import NO_NUL

MOST_RULES = 100
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
#: what git allows in no branch's name; `*` is ours
NOT_IN_BRANCHES = re.compile(r"[ ~^:?\[\\]|\.\.|@\{|//")


def branch_pattern(pattern: str) -> str:
    """A branch's name, in which `*` stands for any text."""
    _check_text(pattern)
    if pattern.startswith("refs/heads/"):
        raise ValueError(f"leave out refs/heads/: write {pattern.removeprefix('refs/heads/')}")
    found = NOT_IN_BRANCHES.search(pattern)
    if found:
        raise ValueError(
            f"{pattern!r} matches no branch, for no branch has {found[0]!r} in its name; "
            "write names, in which * stands for any text, each as an item of its own"
        )
    if pattern.startswith(("-", "/")) or pattern.endswith(("/", ".", ".lock")):
        raise ValueError(f"{pattern!r} matches no branch: none begins or ends so")
    return pattern


def branch_name(name: str) -> str:
    """One branch."""
    if "*" in branch_pattern(name):
        raise ValueError("must be one branch by its name, such as main")
    return name


def path_pattern(pattern: str) -> str:
    """A path from the root of the repository, in which `*` stands for any text, `/` included."""
    _check_text(pattern)
    if pattern.startswith(("/", "./")):
        raise ValueError(f"paths begin at the root of the repository: write {pattern.lstrip('./')!r}")
    if ".." in pattern.split("/"):
        raise ValueError("a path within the repository has no .. in it")
    return pattern


def folder_path(path: str) -> str:
    """A folder of the repository, from its root."""
    parts = [part for part in path.split("/") if part not in {"", "."}]
    if ".." in parts or CONTROL.search(path):
        raise ValueError("must be a folder within the repository, such as / or /site")
    return "/" + "/".join(parts)


def _check_text(pattern: str) -> None:
    if not pattern or CONTROL.search(pattern):
        raise ValueError("must be a name, in which * stands for any text, without control characters")


BranchName = Annotated[str, StringConstraints(max_length=255), AfterValidator(branch_name)]
BranchPattern = Annotated[str, StringConstraints(max_length=255), AfterValidator(branch_pattern)]
PathPattern = Annotated[str, StringConstraints(max_length=1024), AfterValidator(path_pattern)]
BranchRules = Annotated[list[BranchPattern], Field(max_length=MOST_RULES)]
SomeBranchRules = Annotated[list[BranchPattern], Field(min_length=1, max_length=MOST_RULES)]
Command = Annotated[str, StringConstraints(max_length=8192, pattern=NO_NUL)]
Folder = Annotated[str, StringConstraints(max_length=1024), AfterValidator(folder_path)]
PathRules = Annotated[list[PathPattern], Field(max_length=MOST_RULES)]
