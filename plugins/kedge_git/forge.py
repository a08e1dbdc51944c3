"""The forge whose repositories Kedge itself hosts."""

from __future__ import annotations

import asyncio
import errno
import re
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from kedge import CloneSource, InvalidInput, KedgeError, NotFound
from kedge_git.chores import Chores
from kedge_git.describe import Describer
from kedge_git.git import Git, http_backend
from kedge_git.hooks import write_hooks
from kedge_git.intake import Intake
from kedge_git.journal import remove_drafts
from kedge_git.layout import FORGE, Layout
from kedge_git.settings import GitSettings
from kedge_git.tree import Tree
from kedge_git.updates import is_branch_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

    from kedge import BuildReport, Delivery, Host, Push, Repo

_HASH = re.compile(r"[0-9a-f]{4,64}")
#: git asks for a user name; ours mean nothing
_USER = "x-token"
#: how the folder of a repository begins while it is made: no owner's name does
_DRAFT = ".new-"
#: another node that shares the folder has given up on a draft of this age
DRAFT_SECONDS = 3600.0


class GitForge:
    """Bare repositories under the node's data folder; see `kedge_git.routes` for how they are served."""

    name: ClassVar[str] = FORGE
    Settings: ClassVar[type[BaseModel]] = GitSettings
    hosts_repos: ClassVar[bool] = True
    takes_reports: ClassVar[bool] = False
    clone_address: str | None = None

    def __init__(self, settings: GitSettings, host: Host) -> None:
        """Keep `settings`; do no work yet."""
        self._settings = settings
        self._host = host
        self._layout = Layout.of(host, settings)
        self._git = Git(layout=self._layout)
        self._intake = Intake(host, self._layout)
        self._chores = Chores(self._intake, self._git)

    async def open(self) -> None:
        """Make the folders, hand in what an earlier node has left, and allow the routes to serve."""
        await asyncio.to_thread(self._prepare)
        await self._intake.sweep(after_restart=True)
        self._chores.start()
        self._layout.settings.write_text(self._settings.model_dump_json())

    def _prepare(self) -> None:
        http_backend()
        for folder in (self._layout.repos, self._layout.pushes):
            folder.mkdir(parents=True, exist_ok=True)
        for draft in self._layout.repos.glob(f"{_DRAFT}*"):
            if self._layout.shared is None or time.time() - draft.stat().st_mtime > DRAFT_SECONDS:
                shutil.rmtree(draft)
        write_hooks(self._layout.hooks)
        remove_drafts(self._layout)

    async def ensure_repo(self, repo: Repo) -> str:
        """Make the repository if it is not there and return its URL. Raises `InvalidInput` for a bad name."""
        if not self._layout.has(repo):
            await self._make(self._layout.repo_path(repo))
        return self._url(repo)

    async def _make(self, path: Path) -> None:
        """Make it aside and move it into place whole; of several calls at a time, one moves."""
        draft = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix=_DRAFT, dir=self._layout.repos))
        try:
            argv = ("init", "--bare", "--quiet", "--template=", "--initial-branch=main")
            answer = await self._git.ask(draft, *argv)
            if answer.code:
                raise KedgeError(f"git could not make a repository: {answer.complaint}")
            await asyncio.to_thread(_move, draft, path)
        finally:
            await asyncio.to_thread(shutil.rmtree, draft, ignore_errors=True)

    def parse(self, headers: Mapping[str, str], body: bytes) -> Delivery | None:
        """Nobody calls: pushes come to the routes."""
        return None

    async def resolve(self, repo: Repo, revision: str) -> Push:
        """The branch, or the commit of 4 digits or more, as if it had just been pushed. Raises `NotFound`."""
        path = self._known(repo)
        branch = revision.removeprefix("refs/heads/")
        commit_hash = await self._commit(path, f"refs/heads/{branch}") if is_branch_name(branch) else None
        if commit_hash is None and _HASH.fullmatch(revision):
            commit_hash = await self._commit(path, revision)
            branch = await self._branch_of(path, commit_hash) if commit_hash else branch
        if commit_hash is None:
            raise NotFound(f"{repo.owner}/{repo.name} has no branch or commit {revision!r}; push it first")
        return await Describer(self._git, repo, path).head(branch, commit_hash)

    async def _commit(self, path: Path, revision: str) -> str | None:
        argv = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        answer = await self._git.ask(path, *argv)
        return answer.output.decode().strip() if answer.code == 0 else None

    async def _branch_of(self, path: Path, commit_hash: str) -> str:
        """A branch that holds the commit, the default one if it does."""
        argv = ("for-each-ref", "--format=%(HEAD)%(refname)", f"--contains={commit_hash}", "refs/heads/")
        answer = await self._git.ask(path, *argv)
        found = sorted(answer.output.decode(errors="replace").splitlines(), key=lambda line: line[0] != "*")
        if not found:
            raise NotFound(f"commit {commit_hash} is on no branch any more; push it again or name a branch")
        return found[0][1:].removeprefix("refs/heads/")

    async def list_folder(self, repo: Repo, commit_hash: str, folder: str) -> tuple[str, ...]:
        """The names of the regular files directly in a folder of a commit. Raises `NotFound`."""
        return await self._tree(repo, commit_hash).names(folder)

    async def read_file(self, repo: Repo, commit_hash: str, path: str, *, limit: int) -> bytes:
        """A regular file of a commit. Raises `NotFound`, or `TooLarge`."""
        return await self._tree(repo, commit_hash).read(path, limit=limit)

    def _tree(self, repo: Repo, commit_hash: str) -> Tree:
        path = self._known(repo)
        if not _HASH.fullmatch(commit_hash):
            raise NotFound(f"{commit_hash!r} is no commit")
        return Tree(git=self._git, path=path, commit=commit_hash)

    async def clone_source(self, repo: Repo, *, token: str) -> CloneSource:
        """The repository's URL with `token`, and its folder for runners of this machine."""
        path = self._known(repo)
        return CloneSource(url=self._url(repo), username=_USER, password=token, local_path=str(path))

    async def report_status(self, report: BuildReport) -> None:
        """Nothing to tell: the pusher sees the log, everybody else asks Kedge."""

    async def close(self) -> None:
        """Stop looking for pushes that are left; those stay in the journal."""
        self._layout.settings.unlink(missing_ok=True)
        await self._chores.stop()

    def _known(self, repo: Repo) -> Path:
        try:
            if self._layout.has(repo):
                return self._layout.repo_path(repo)
        except InvalidInput as error:
            raise NotFound(str(error)) from None
        raise NotFound(f"Kedge hosts no repository {repo.owner}/{repo.name}; create its worker first")

    def _url(self, repo: Repo) -> str:
        return f"{self._host.public_url}/git/{repo.owner}/{repo.name}.git"


def _move(draft: Path, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    draft.chmod(0o755)
    try:
        draft.rename(path)
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
            raise
