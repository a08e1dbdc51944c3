"""A forge in memory, for tests of everything that meets one."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import uuid4

from pydantic import BaseModel, ConfigDict

from kedge.contracts.forge import CloneSource, Delivery, Push, Repo
from kedge.errors import NotFound, TooLarge, Unauthorized

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kedge.contracts.forge import BuildReport
    from kedge.contracts.host import Host


class FakeForgeSettings(BaseModel):
    """Settings of the fake."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: what webhook calls are signed with
    secret: str = "fake-secret"


class FakeForge:
    """Its repositories are dictionaries, its commits only hashes.

    `commit` adds to a repository, `webhook` makes a signed call that tells of it. `reports` holds what
    `report_status` was told; `failures` are raised by the next calls of `resolve`, in order, and
    `report_failures` by those of `report_status`, which also waits while `reports_held` is cleared.
    """

    name: ClassVar[str] = "fake"
    Settings: ClassVar[type[BaseModel]] = FakeForgeSettings
    hosts_repos: ClassVar[bool] = True
    takes_reports: ClassVar[bool] = True
    clone_address: str | None = None

    def __init__(self, settings: FakeForgeSettings, host: Host) -> None:
        """Begin with no repository."""
        self._secret = settings.secret.encode()
        self._host = host
        self.repos: dict[Repo, dict[str, list[Push]]] = {}
        self.files: dict[tuple[Repo, str], dict[str, bytes]] = {}
        self.reports: list[BuildReport] = []
        self.failures: list[Exception] = []
        self.report_failures: list[Exception] = []
        self.reports_held = asyncio.Event()
        self.reports_held.set()
        self._reported = asyncio.Condition()

    def commit(
        self,
        repo: Repo,
        branch: str = "main",
        message: str = "a commit",
        files: Mapping[str, bytes] | None = None,
        **known: Any,
    ) -> Push:
        """Add a commit that holds `files` to a branch, made if need be; `known` sets more of the push."""
        history = self.repos.setdefault(repo, {}).setdefault(branch, [])
        before = history[-1].commit_hash if history else None
        commit_hash = hashlib.sha1(uuid4().bytes, usedforsecurity=False).hexdigest()
        fields = {"author": "A. Tester <a@example.com>", "before": before, "trusted": True, **known}
        push = Push(repo=repo, branch=branch, commit_hash=commit_hash, commit_message=message, **fields)
        history.append(push)
        self.files[repo, commit_hash] = dict(files or {})
        return push

    def delete_branch(self, repo: Repo, branch: str) -> None:
        """Make a branch and its commits unknown."""
        del self.repos[repo][branch]

    def webhook(self, push: Push, delivery_id: str | None = None) -> tuple[dict[str, str], bytes]:
        """The headers and body of a call that tells of a push."""
        place = [push.repo.owner, push.repo.name, push.branch, push.commit_hash]
        body = json.dumps({"delivery_id": delivery_id or uuid4().hex, "push": place}).encode()
        return {"x-fake-signature": self._sign(body)}, body

    async def open(self) -> None:
        """Nothing to make ready."""

    async def ensure_repo(self, repo: Repo) -> str:
        """Make it if need be."""
        self.repos.setdefault(repo, {})
        return self._url(repo)

    def parse(self, headers: Mapping[str, str], body: bytes) -> Delivery | None:
        """Understand what `webhook` makes; a signed body that is something else is no push."""
        signature = {name.lower(): value for name, value in headers.items()}.get("x-fake-signature", "")
        if not hmac.compare_digest(signature.encode(), self._sign(body).encode()):
            raise Unauthorized("the signature is missing or wrong")
        try:
            told = json.loads(body)
            owner, name, branch, commit_hash = told["push"]
            delivery_id = told["delivery_id"]
        except (ValueError, LookupError, TypeError):
            return None
        repo = Repo(forge=self.name, owner=owner, name=name)
        push = self._find(repo, branch, commit_hash)
        pushes = (push or Push(repo=repo, branch=branch, commit_hash=commit_hash, trusted=False),)
        return Delivery(forge=self.name, delivery_id=delivery_id, pushes=pushes)

    async def resolve(self, repo: Repo, revision: str) -> Push:
        """The newest commit of a branch, or the commit of that hash."""
        if self.failures:
            raise self.failures.pop(0)
        branches = self.repos.get(repo, {})
        if branches.get(revision):
            return branches[revision][-1]
        for branch in branches:
            if found := self._find(repo, branch, revision):
                return found
        raise NotFound(f"{repo.owner}/{repo.name} has no branch or commit {revision!r}")

    async def list_folder(self, repo: Repo, commit_hash: str, folder: str) -> tuple[str, ...]:
        """The names of the files directly in a folder."""
        prefix = f"{folder}/" if folder else ""
        below = (path[len(prefix) :] for path in self._files(repo, commit_hash) if path.startswith(prefix))
        return tuple(name for name in below if "/" not in name)

    async def read_file(self, repo: Repo, commit_hash: str, path: str, *, limit: int) -> bytes:
        """A file as it was committed."""
        files = self._files(repo, commit_hash)
        if path not in files:
            raise NotFound(f"the commit has no file {path!r}")
        if len(files[path]) > limit:
            raise TooLarge(f"{path!r} has more than {limit} bytes")
        return files[path]

    async def clone_source(self, repo: Repo, *, token: str) -> CloneSource:
        """A URL that leads nowhere."""
        if repo not in self.repos:
            raise NotFound(f"there is no repository {repo.owner}/{repo.name}")
        return CloneSource(url=self._url(repo), username="x-token", password=token)

    async def report_status(self, report: BuildReport) -> None:
        """Remember it."""
        await self.reports_held.wait()
        if self.report_failures:
            raise self.report_failures.pop(0)
        async with self._reported:
            self.reports.append(report)
            self._reported.notify_all()

    async def reported(self, build_uuid: str, status: str) -> list[BuildReport]:
        """What was told of a build, once its last report is `status`."""
        async with self._reported:
            await self._reported.wait_for(
                lambda: [one.status for one in self._of(build_uuid)][-1:] == [status]
            )
            return self._of(build_uuid)

    def _of(self, build_uuid: str) -> list[BuildReport]:
        return [report for report in self.reports if report.build_uuid == build_uuid]

    async def close(self) -> None:
        """Nothing to let go of."""

    def _find(self, repo: Repo, branch: str, commit_hash: str) -> Push | None:
        history = self.repos.get(repo, {}).get(branch, [])
        return next((push for push in history if push.commit_hash == commit_hash), None)

    def _files(self, repo: Repo, commit_hash: str) -> dict[str, bytes]:
        if (repo, commit_hash) not in self.files:
            raise NotFound(f"{repo.owner}/{repo.name} has no commit {commit_hash!r}")
        return self.files[repo, commit_hash]

    def _sign(self, body: bytes) -> str:
        return hmac.new(self._secret, body, hashlib.sha256).hexdigest()

    def _url(self, repo: Repo) -> str:
        return f"{self._host.public_url}/fake/{repo.owner}/{repo.name}.git"
