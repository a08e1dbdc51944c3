from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kedge import Forge, InvalidInput, NotFound, Repo
from kedge.testing.fake_host import FakeHost
from kedge.testing.forge import ForgeSuite
from kedge_git.forge import GitForge
from kedge_git.layout import Layout
from kedge_git.settings import GitSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

BAD_NAMES = (
    "",
    ".",
    "..",
    "a..b",
    "A",
    "a/b",
    "a b",
    "-a",
    ".a",
    "a.git",
    "a.lock",
    "a\n",
    "é",
    "x" * 64,
    "$(touch pwned)",
)


async def git(path: Path | str, *argv: str, stdin: bytes = b"", index: str = "") -> str:
    process = await asyncio.create_subprocess_exec(
        "git",
        *("-c", "user.name=Ada", "-c", "user.email=ada@example.com"),
        *argv,
        cwd=path,
        env={**os.environ, **({"GIT_INDEX_FILE": index} if index else {})},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(stdin)
    assert process.returncode == 0, err
    return out.decode().strip()


async def commit_to(path: str, branch: str, message: str, files: Mapping[str, bytes] | None = None) -> str:
    """Add a commit to a branch of a bare repository, without a working tree."""
    with tempfile.TemporaryDirectory() as folder:
        index = f"{folder}/index"
        for name, content in (files or {}).items():
            blob = await git(path, "hash-object", "-w", "--stdin", stdin=content)
            await git(path, "update-index", "--add", "--cacheinfo", f"100644,{blob},{name}", index=index)
        tree = await git(path, "write-tree", index=index)
    tip = await git(path, "for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}")
    parents = ["-p", tip] if tip else []
    commit_hash = await git(path, "commit-tree", tree, "-m", message, *parents)
    await git(path, "update-ref", f"refs/heads/{branch}", commit_hash)
    return commit_hash


def write_files(folder: Path, count: int) -> list[str]:
    names = [str(folder / str(number)) for number in range(count)]
    for name in names:
        Path(name).write_text(name)
    return names


@pytest.fixture
async def forge(tmp_path: Path) -> AsyncIterator[GitForge]:
    forge = GitForge(GitSettings(), FakeHost(tmp_path, public_url="http://kedge.example:8787"))
    await forge.open()
    yield forge
    await forge.close()


@pytest.fixture
def repo() -> Repo:
    return Repo(forge="git", owner="default", name="hello")


class TestGitForge(ForgeSuite):
    webhooks = False

    @pytest.fixture
    async def forge(self, tmp_path: Path) -> AsyncIterator[Forge]:
        forge = GitForge(GitSettings(), FakeHost(tmp_path))
        await forge.open()
        yield forge
        await forge.close()

    async def commit(
        self,
        forge: Forge,
        repo: Repo,
        *,
        branch: str,
        message: str,
        files: Mapping[str, bytes] | None = None,
    ) -> str:
        await forge.ensure_repo(repo)
        source = await forge.clone_source(repo, token="")
        return await commit_to(str(source.local_path), branch, message, files)

    async def test_only_regular_files_are_files(self, forge: Forge, repo: Repo) -> None:
        await forge.ensure_repo(repo)
        path = str((await forge.clone_source(repo, token="")).local_path)
        blob = await git(path, "hash-object", "-w", "/dev/null")
        modes = {"link": "120000 blob", "module": "160000 commit", "run": "100755 blob"}
        entries = [f"{mode} {blob if 'blob' in mode else '1' * 40}\t{name}" for name, mode in modes.items()]
        tree = await git(path, "mktree", stdin="\n".join(entries).encode())
        commit = await git(path, "commit-tree", tree, "-m", "odd")

        assert await forge.list_folder(repo, commit, "") == ("run",)
        for name in ("link", "module"):
            with pytest.raises(NotFound):
                await forge.read_file(repo, commit, name, limit=100)


async def test_a_clone_source_is_a_url_with_the_token_and_a_bare_folder(forge: GitForge, repo: Repo) -> None:
    await forge.ensure_repo(repo)

    source = await forge.clone_source(repo, token="secret")

    assert source.url == "http://kedge.example:8787/git/default/hello.git"
    assert (source.username, source.password) == ("x-token", "secret")
    assert await git(str(source.local_path), "rev-parse", "--is-bare-repository") == "true"


async def test_cloning_a_repository_that_is_not_there_is_not_found(forge: GitForge, repo: Repo) -> None:
    with pytest.raises(NotFound, match="hosts no repository default/hello"):
        await forge.clone_source(repo, token="")


@pytest.mark.parametrize("name", BAD_NAMES)
async def test_a_bad_name_makes_no_repository(forge: GitForge, tmp_path: Path, name: str) -> None:
    for repo in (Repo(forge="git", owner="default", name=name), Repo(forge="git", owner=name, name="hello")):
        with pytest.raises(InvalidInput):
            await forge.ensure_repo(repo)

    assert list((tmp_path / "git" / "repos").iterdir()) == []


async def test_many_callers_make_one_repository_and_leave_nothing_else(
    forge: GitForge, repo: Repo, tmp_path: Path
) -> None:
    await asyncio.gather(*(forge.ensure_repo(repo) for _ in range(20)))

    assert [path.name for path in (tmp_path / "git" / "repos").iterdir()] == ["default"]
    assert [path.name for path in (tmp_path / "git" / "repos" / "default").iterdir()] == ["hello.git"]


async def test_a_new_repository_begins_on_main(forge: GitForge, repo: Repo, tmp_path: Path) -> None:
    await forge.ensure_repo(repo)

    assert (Layout(root=tmp_path / "git").repo_path(repo) / "HEAD").read_text() == "ref: refs/heads/main\n"


async def test_a_short_hash_is_understood(forge: GitForge, repo: Repo) -> None:
    await forge.ensure_repo(repo)
    path = str((await forge.clone_source(repo, token="")).local_path)
    commit_hash = await commit_to(path, "main", "first")

    assert (await forge.resolve(repo, commit_hash[:7])).commit_hash == commit_hash


async def test_a_branch_named_like_a_hash_is_a_branch(forge: GitForge, repo: Repo) -> None:
    await forge.ensure_repo(repo)
    path = str((await forge.clone_source(repo, token="")).local_path)
    on_main = await commit_to(path, "main", "first")
    on_branch = await commit_to(path, on_main[:10], "second")

    assert (await forge.resolve(repo, on_main[:10])).commit_hash == on_branch


async def test_a_commit_of_several_branches_belongs_to_the_default_one(forge: GitForge, repo: Repo) -> None:
    await forge.ensure_repo(repo)
    path = str((await forge.clone_source(repo, token="")).local_path)
    commit_hash = await commit_to(path, "main", "first")
    await git(path, "branch", "a-branch", "main")

    assert (await forge.resolve(repo, commit_hash)).branch == "main"


async def test_a_commit_that_no_branch_holds_is_not_found(forge: GitForge, repo: Repo) -> None:
    await forge.ensure_repo(repo)
    path = str((await forge.clone_source(repo, token="")).local_path)
    commit_hash = await commit_to(path, "main", "first")
    await git(path, "update-ref", "-d", "refs/heads/main")

    with pytest.raises(NotFound, match="on no branch any more"):
        await forge.resolve(repo, commit_hash)


async def test_a_tree_or_a_tag_is_no_commit_of_a_branch(forge: GitForge, repo: Repo) -> None:
    await forge.ensure_repo(repo)
    path = str((await forge.clone_source(repo, token="")).local_path)
    await commit_to(path, "main", "first")
    await git(path, "tag", "v1", "main")

    for revision in (await git(path, "rev-parse", "main^{tree}"), "v1", "refs/tags/v1", "HEAD"):
        with pytest.raises(NotFound):
            await forge.resolve(repo, revision)


async def test_what_a_killed_node_left_half_made_is_removed(forge: GitForge, tmp_path: Path) -> None:
    (tmp_path / "git" / "repos" / ".new-1" / "objects").mkdir(parents=True)

    await forge.open()

    assert list((tmp_path / "git" / "repos").iterdir()) == []


async def test_a_repository_with_many_loose_objects_is_packed(
    forge: GitForge, repo: Repo, tmp_path: Path
) -> None:
    await forge.ensure_repo(repo)
    path = str((await forge.clone_source(repo, token="")).local_path)
    await commit_to(path, "main", "first")
    await git(path, "config", "gc.auto", "1")
    names = write_files(tmp_path, 1500)  # git guesses how many there are from one folder in 256
    await git(path, "hash-object", "-w", *names)

    assert await forge._chores.tidy() == 1

    assert "packs: 1" in await git(path, "count-objects", "-v")
