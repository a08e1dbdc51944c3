"""Where everything lies under the node's data folder."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kedge import InvalidInput, Repo

if TYPE_CHECKING:
    from pathlib import Path

    from kedge import Host
    from kedge_git.settings import GitSettings

FORGE = "git"

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


def check_name(name: str) -> None:
    """Raise `InvalidInput` unless `name` may be an owner or a repository: never anything like a path."""
    if not _NAME.fullmatch(name) or ".." in name or name.endswith((".git", ".lock")):
        raise InvalidInput(
            f"{name!r} cannot name a repository or its owner: use 1 to 63 of a-z 0-9 . _ - beginning with "
            "a letter or digit, no '..', not ending in .git or .lock"
        )


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The folder `git` of a node."""

    root: Path
    #: where repositories lie that every node serves
    shared: Path | None = None

    @classmethod
    def of(cls, host: Host, settings: GitSettings | None = None) -> Layout:
        """The layout of that node."""
        return cls(root=host.data_dir.absolute() / FORGE, shared=settings.folder if settings else None)

    @property
    def repos(self) -> Path:
        """Bare repositories as `{owner}/{name}.git`."""
        return self.shared or self.root / "repos"

    @property
    def pushes(self) -> Path:
        """A file for each push under way."""
        return self.root / "pushes"

    @property
    def hooks(self) -> Path:
        """The hooks of all repositories."""
        return self.root / "hooks"

    @property
    def settings(self) -> Path:
        """What the open forge was configured with, for its routes."""
        return self.root / "settings.json"

    def repo_path(self, repo: Repo) -> Path:
        """Where a repository lies, there or not. Raises `InvalidInput`."""
        check_name(repo.owner)
        check_name(repo.name)
        return self.repos / repo.owner / f"{repo.name}.git"

    def has(self, repo: Repo) -> bool:
        """Whether the repository is there."""
        return os.path.exists(self.repo_path(repo) / "HEAD")  # noqa: PTH110  (one call of the kernel, no objects)
