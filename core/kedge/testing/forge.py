"""What every forge promises, as tests."""

from __future__ import annotations

import asyncio
import re
from abc import abstractmethod
from typing import TYPE_CHECKING

import pytest

from kedge.contracts.forge import BuildReport, Forge, Repo
from kedge.errors import InvalidInput, NotFound, TooLarge, Unauthorized

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

HOSTILE_REVISIONS = (
    "--upload-pack=touch pwned",
    "-x",
    "$(touch pwned)",
    "main; touch pwned",
    "../../../etc/passwd",
    "main^{tree}",
    "main:file",
    "main@{1}",
    "main\nmain",
    "nul\0nul",
    "",
    " ",
    "é\ud800",
    "x" * 5000,
)

HOSTILE_PATHS = (
    "",
    "gone",
    "site/gone",
    "a.txt/x",
    "../a.txt",
    "site/../a.txt/",
    "/etc",
    "--help",
    ":(glob)**",
    ":/",
    "*",
    "sit?",
    "$(touch pwned)",
    "a\nb",
    "nul\0nul",
    "\ud800",
    "x" * 5000,
)
FILES = {
    "a.txt": b"hello\n",
    "package.json": b"{}",
    "site.txt": b"",
    "site/index.html": b"\xff\x00\r\n",
    "site/ünï cödé *.txt": b"x",
    "site/deep/x": b"y",
}


class ForgeSuite:
    """Subclass it as `class TestMine(ForgeSuite)` and give the fixture `forge` and the method `commit`.

    Set `webhooks` to False for a forge that never gets any.
    """

    webhooks = True

    @pytest.fixture
    def repo(self, forge: Forge) -> Repo:
        """The repository that the tests use; a connecting forge overrides this with one that is there."""
        return Repo(forge=forge.name, owner="default", name="suite")

    @pytest.fixture
    async def forge(self, tmp_path: Path) -> Forge:
        """The forge under test, open, its host's `public_url` set."""
        raise NotImplementedError

    @abstractmethod
    async def commit(
        self,
        forge: Forge,
        repo: Repo,
        *,
        branch: str,
        message: str,
        files: Mapping[str, bytes] | None = None,
    ) -> str:
        """Add a commit to `branch` of `repo`, both made if need be, and return its hash.

        Its tree holds `files` and nothing else.
        """

    def test_it_is_a_forge_with_a_name_and_frozen_settings(self, forge: Forge) -> None:
        assert isinstance(forge, Forge)
        assert re.fullmatch(r"[a-z][a-z0-9_-]*", forge.name)
        assert {type(forge.hosts_repos), type(forge.takes_reports)} == {bool}
        assert forge.clone_address is None or re.fullmatch(r"\S+:\d+", forge.clone_address)
        assert forge.Settings.model_config.get("frozen") is True
        assert forge.Settings.model_config.get("extra") == "forbid"

    async def test_a_branch_resolves_to_its_newest_commit(self, forge: Forge, repo: Repo) -> None:
        await self.commit(forge, repo, branch="main", message="first")
        newest = await self.commit(forge, repo, branch="main", message="second")

        push = await forge.resolve(repo, "main")

        assert (push.repo, push.branch, push.commit_hash) == (repo, "main", newest)
        assert push.commit_message == "second"
        assert push.author

    async def test_a_commit_resolves_to_itself_and_its_branch(self, forge: Forge, repo: Repo) -> None:
        first = await self.commit(forge, repo, branch="feature/one", message="first")
        await self.commit(forge, repo, branch="feature/one", message="second")

        push = await forge.resolve(repo, first)

        assert (push.branch, push.commit_hash) == ("feature/one", first)
        assert push.commit_message == "first"

    async def test_what_is_resolved_says_nothing_of_changed_paths(self, forge: Forge, repo: Repo) -> None:
        await self.commit(forge, repo, branch="main", message="first")

        assert (await forge.resolve(repo, "main")).changed_paths is None

    async def test_a_branch_or_commit_that_is_not_there_is_not_found(self, forge: Forge, repo: Repo) -> None:
        await self.commit(forge, repo, branch="main", message="first")

        for revision in ("gone", "0" * 40, "abcdef0123456789" * 2 + "01234567"):
            with pytest.raises(NotFound):
                await forge.resolve(repo, revision)

    @pytest.mark.parametrize("revision", HOSTILE_REVISIONS)
    async def test_a_hostile_revision_is_not_found(self, forge: Forge, repo: Repo, revision: str) -> None:
        await self.commit(forge, repo, branch="main", message="first")

        with pytest.raises((NotFound, InvalidInput)):
            await forge.resolve(repo, revision)

    @pytest.mark.parametrize("name", ["gone", "../suite", "$(touch pwned)", "-x", "a b", ""])
    async def test_a_repository_that_is_not_there_is_not_found(self, forge: Forge, name: str) -> None:
        repo = Repo(forge=forge.name, owner="default", name=name)

        with pytest.raises((NotFound, InvalidInput)):
            await forge.resolve(repo, "main")

    async def test_resolving_concurrently_gives_one_answer(self, forge: Forge, repo: Repo) -> None:
        commit_hash = await self.commit(forge, repo, branch="main", message="first")

        pushes = await asyncio.gather(*(forge.resolve(repo, "main") for _ in range(10)))

        assert {push.commit_hash for push in pushes} == {commit_hash}

    async def test_a_hosted_repository_is_made_once(self, forge: Forge, repo: Repo) -> None:
        if not forge.hosts_repos:
            pytest.skip("it only connects to repositories")
        urls = await asyncio.gather(*(forge.ensure_repo(repo) for _ in range(5)))
        commit_hash = await self.commit(forge, repo, branch="main", message="first")

        assert {*urls, await forge.ensure_repo(repo)} == {urls[0]}
        assert (await forge.resolve(repo, "main")).commit_hash == commit_hash

    async def test_a_folder_tells_the_files_in_it_and_no_more(self, forge: Forge, repo: Repo) -> None:
        commit = await self.commit(forge, repo, branch="main", message="files", files=FILES)

        assert set(await forge.list_folder(repo, commit, "")) == {"a.txt", "package.json", "site.txt"}
        assert set(await forge.list_folder(repo, commit, "site")) == {"index.html", "ünï cödé *.txt"}
        assert set(await forge.list_folder(repo, commit, "site/deep")) == {"x"}

    async def test_a_file_is_read_as_it_was_committed(self, forge: Forge, repo: Repo) -> None:
        commit = await self.commit(forge, repo, branch="main", message="files", files=FILES)

        for path, content in FILES.items():
            assert await forge.read_file(repo, commit, path, limit=len(content)) == content
        with pytest.raises(TooLarge):
            await forge.read_file(repo, commit, "a.txt", limit=len(FILES["a.txt"]) - 1)

    @pytest.mark.parametrize("path", HOSTILE_PATHS)
    async def test_a_hostile_path_leads_nowhere(self, forge: Forge, repo: Repo, path: str) -> None:
        commit = await self.commit(forge, repo, branch="main", message="files", files=FILES)

        with pytest.raises(NotFound):
            await forge.read_file(repo, commit, path, limit=100)
        if path:
            assert await forge.list_folder(repo, commit, path) == ()

    @pytest.mark.parametrize("commit", ["0" * 40, "--help", "main", "HEAD", ""])
    async def test_files_of_a_commit_that_is_not_there_are_not_found(
        self, forge: Forge, repo: Repo, commit: str
    ) -> None:
        await self.commit(forge, repo, branch="main", message="files", files=FILES)

        with pytest.raises(NotFound):
            await forge.list_folder(repo, commit, "")
        with pytest.raises(NotFound):
            await forge.read_file(repo, commit, "a.txt", limit=100)

    async def test_an_empty_repository_has_no_branch(self, forge: Forge, repo: Repo) -> None:
        if not forge.hosts_repos:
            pytest.skip("it only connects to repositories")
        await forge.ensure_repo(repo)

        with pytest.raises(NotFound):
            await forge.resolve(repo, "main")

    async def test_a_clone_source_names_the_repository_and_hides_the_token(
        self, forge: Forge, repo: Repo
    ) -> None:
        await self.commit(forge, repo, branch="main", message="first")

        source = await forge.clone_source(repo, token="very-secret")

        assert repo.name in source.url
        assert "very-secret" not in source.url + source.username + repr(source)

    def test_an_unsigned_call_is_refused_or_no_push(self, forge: Forge) -> None:
        for body in (b"", b"{}", b"\xff\x00", b'{"ref": "refs/heads/main"}'):
            if self.webhooks:
                with pytest.raises(Unauthorized):
                    forge.parse({}, body)
            else:
                assert forge.parse({}, body) is None

    async def test_a_status_can_be_reported_twice(self, forge: Forge, repo: Repo) -> None:
        commit_hash = await self.commit(forge, repo, branch="main", message="first")
        report = BuildReport(
            repo=repo,
            build_uuid="00000000-0000-4000-8000-000000000000",
            worker="suite",
            commit_hash=commit_hash,
            branch="main",
            status="stopped",
            outcome="success",
            summary="built",
            details_url="http://127.0.0.1/builds",
        )

        await forge.report_status(report)
        await forge.report_status(report)
