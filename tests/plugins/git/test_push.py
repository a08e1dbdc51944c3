"""Pushes with a real git over real HTTP: what reaches Kedge."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from tests.plugins.git.conftest import Clone, Hosted

    from kedge import Push


@pytest.fixture
async def tree(hosted: Hosted) -> Clone:
    """A working tree with one commit on `main`, pushed."""
    tree = await hosted.new_tree()
    await tree.commit("first", index="hello")
    await tree.git("push", "origin", "main")
    hosted.host.deliveries.clear()
    return tree


def by_branch(hosted: Hosted) -> dict[str, Push]:
    return {push.branch: push for push in hosted.host.pushes}


async def test_a_push_is_received_with_what_the_commit_says(hosted: Hosted) -> None:
    tree = await hosted.new_tree()
    commit_hash = await tree.commit("Say hello\n\nIn English.", index="hello")

    await tree.git("push", "origin", "main")

    [delivery] = hosted.host.deliveries
    [push] = delivery.pushes
    assert delivery.forge == push.repo.forge == "git"
    assert (push.repo.owner, push.repo.name) == ("default", "hello")
    assert (push.branch, push.commit_hash, push.before) == ("main", commit_hash, None)
    assert push.commit_message == "Say hello\n\nIn English."
    assert push.author == "Ada <ada@example.com>"
    assert push.changed_paths is None


async def test_a_second_push_says_what_has_changed(hosted: Hosted, tree: Clone) -> None:
    before = await tree.git("rev-parse", "HEAD")
    await tree.commit("second", **{"a b": "1", "gewürz": "2"})
    after = await tree.commit("third", index="hello again")

    await tree.git("push", "origin", "main")

    [push] = hosted.host.pushes
    assert (push.before, push.commit_hash, push.commit_count) == (before, after, 2)
    assert push.changed_paths == ("a b", "gewürz", "index")
    assert push.commit_message == "third"


async def test_several_branches_make_one_delivery_with_a_push_each(hosted: Hosted, tree: Clone) -> None:
    await tree.git("branch", "two")
    await tree.git("checkout", "-q", "-b", "three")
    await tree.commit("on three", three="3")
    await tree.git("tag", "v1")

    await tree.git("push", "origin", "two", "three", "v1")

    assert len(hosted.host.deliveries) == 1
    pushes = by_branch(hosted)
    assert set(pushes) == {"two", "three"}
    assert pushes["three"].changed_paths == ("three",)
    assert (pushes["three"].commit_count, pushes["three"].before) == (1, None)


async def test_a_forced_push_is_received(hosted: Hosted, tree: Clone) -> None:
    before = await tree.git("rev-parse", "HEAD")
    await tree.git("commit", "-q", "--amend", "-m", "instead")

    await tree.git("push", "--force", "origin", "main")

    [push] = hosted.host.pushes
    assert (push.before, push.commit_message, push.changed_paths) == (before, "instead", ())


async def test_a_branch_that_is_moved_back_is_received(hosted: Hosted, tree: Clone) -> None:
    first = await tree.git("rev-parse", "HEAD")
    await tree.commit("second", more="1")
    await tree.git("push", "origin", "main")

    await tree.git("push", "--force", "origin", f"{first}:main")

    push = hosted.host.pushes[-1]
    assert (push.commit_hash, push.commit_count, push.changed_paths) == (first, 0, ("more",))


@pytest.mark.parametrize(
    "refspecs",
    [("main:refs/tags/v1",), (":other",), ("main:refs/notes/commits",), ("main:refs/heads/other",), ()],
    ids=["a tag", "a deleted branch", "notes", "nothing new", "nothing at all"],
)
async def test_what_moves_no_branch_is_no_push(
    hosted: Hosted, tree: Clone, refspecs: tuple[str, ...]
) -> None:
    await tree.git("push", "origin", "main:other")
    hosted.host.deliveries.clear()

    await tree.git("push", "origin", *(refspecs or ("main",)))

    assert hosted.host.deliveries == []
    assert await hosted.settled()


async def test_the_branch_that_a_repository_stands_on_stays_and_git_gives_no_advice_on_settings(
    hosted: Hosted, tree: Clone
) -> None:
    ran = await tree.try_git("push", "origin", "--delete", "main")

    assert ran.code == 1
    assert "refusing to delete the current branch" in ran.err
    assert "denyDeleteCurrent" not in ran.err
    assert hosted.host.deliveries == []


async def test_head_pushes_the_branch_it_stands_for(hosted: Hosted, tree: Clone) -> None:
    await tree.commit("second")

    await tree.git("push", "origin", "HEAD")

    assert set(by_branch(hosted)) == {"main"}


@pytest.mark.parametrize(
    "branch",
    [
        "$(touch${IFS}pwned)",
        "`id`;echo'\"",
        "a/-dash",
        "füñ/☃",
        "HEAD",
        "x" * 240,
        "a/" * 100 + "b",
        "refs/heads/main",
        "@-",
    ],
)
async def test_an_odd_branch_name_arrives_as_it_is(hosted: Hosted, tree: Clone, branch: str) -> None:
    await tree.git("push", "origin", f"main:refs/heads/{branch}")

    [push] = hosted.host.pushes
    assert push.branch == branch
    assert (await hosted.forge.resolve(push.repo, f"refs/heads/{branch}")).commit_hash == push.commit_hash


async def test_a_branch_name_that_is_no_text_is_stored_but_not_built(hosted: Hosted, tree: Clone) -> None:
    await tree.git("push", "origin", os.fsdecode(b"main:refs/heads/caf\xe9"))

    assert hosted.host.deliveries == []


async def test_a_message_that_is_long_and_no_utf8_is_cut_and_mended(hosted: Hosted, tree: Clone) -> None:
    (tree.path / "message").write_bytes(b"caf\xe9 " + b"x" * 100_000)
    await tree.git("commit", "-q", "--allow-empty", "-F", "message")

    await tree.git("push", "origin", "main")

    [push] = hosted.host.pushes
    assert push.commit_message.startswith("caf\xe9 x")
    assert len(push.commit_message) == 2000


async def test_so_many_changed_paths_that_rules_no_longer_count_are_cut(hosted: Hosted, tree: Clone) -> None:
    await tree.commit("many", **{f"file-{number:04}": "" for number in range(3100)})

    await tree.git("push", "origin", "main")

    [push] = hosted.host.pushes
    assert push.changed_paths is not None
    assert len(push.changed_paths) == 3000


async def test_a_hundred_branches_make_a_hundred_pushes(hosted: Hosted, tree: Clone) -> None:
    for number in range(100):
        await tree.git("branch", f"b{number}")

    await tree.git("push", "origin", "--all")

    pushes = by_branch(hosted)
    assert len(pushes) == 100
    assert {push.commit_message for push in pushes.values()} == {"first"}


async def test_a_rejected_push_is_no_push(hosted: Hosted, tree: Clone) -> None:
    await tree.git("commit", "-q", "--amend", "-m", "instead")

    ran = await tree.try_git("push", "origin", "main")

    assert ran.code == 1
    assert hosted.host.deliveries == []


async def test_pushes_to_one_repository_at_a_time_all_arrive(hosted: Hosted, tree: Clone) -> None:
    for number in range(8):
        await tree.git("branch", f"b{number}")

    await asyncio.gather(*(tree.git("push", "-q", "origin", f"b{number}") for number in range(8)))

    assert set(by_branch(hosted)) == {f"b{number}" for number in range(8)}


async def test_a_broken_commit_is_refused(hosted: Hosted, tree: Clone) -> None:
    tree_hash = await tree.git("rev-parse", "HEAD^{tree}")
    (tree.path / "raw").write_text(
        f"tree {tree_hash}\nauthor no-mail 0 +0000\ncommitter x <x> 0 +0000\n\nx\n"
    )
    commit_hash = await tree.git("hash-object", "-t", "commit", "--literally", "-w", "raw")

    ran = await tree.try_git("push", "origin", f"{commit_hash}:refs/heads/broken")

    assert ran.code == 1
    assert hosted.host.deliveries == []


async def test_a_clone_can_be_shallow_partial_and_of_one_commit(hosted: Hosted, tree: Clone) -> None:
    old = await tree.git("rev-parse", "HEAD")
    await tree.commit("second", index="hello again")
    await tree.git("push", "origin", "main")
    url = hosted.url()

    await tree.git("clone", "-q", "--depth=1", url, "shallow")
    await tree.git("clone", "-q", "--filter=blob:none", "--no-checkout", url, "partial")
    await tree.git("init", "-q", "exact")
    await tree.git("-C", "exact", "fetch", "-q", "--depth=1", url, old)

    assert await tree.git("-C", "shallow", "rev-list", "--count", "HEAD") == "1"
    assert (tree.path / "shallow" / "index").read_text() == "hello again"
    assert (await tree.git("-C", "partial", "rev-list", "--objects", "--missing=print", "--all")).count(
        "?"
    ) == 2
    assert await tree.git("-C", "exact", "rev-parse", "FETCH_HEAD") == old


async def test_a_commit_that_was_pushed_over_can_still_be_fetched(hosted: Hosted, tree: Clone) -> None:
    old = await tree.git("rev-parse", "HEAD")
    await tree.git("commit", "-q", "--amend", "-m", "instead")
    await tree.git("push", "--force", "origin", "main")

    await tree.git("init", "-q", "exact")
    await tree.git("-C", "exact", "fetch", "-q", "--depth=1", hosted.url(), old)

    assert await tree.git("-C", "exact", "rev-parse", "FETCH_HEAD") == old


async def test_a_shallow_clone_can_push(hosted: Hosted, tree: Clone) -> None:
    await tree.commit("second")
    await tree.git("push", "origin", "main")
    await tree.git("clone", "-q", "--depth=1", hosted.url(), "shallow")
    await tree.git("-C", "shallow", "commit", "-q", "--allow-empty", "-m", "from a shallow one")

    await tree.git("-C", "shallow", "push", "origin", "main")

    assert hosted.host.pushes[-1].commit_message == "from a shallow one"


async def test_an_empty_repository_can_be_cloned(hosted: Hosted, tree: Clone) -> None:
    await hosted.make("empty")

    ran = await tree.try_git("clone", hosted.url("empty"), "empty")

    assert ran.code == 0
    assert await tree.git("-C", "empty", "symbolic-ref", "--short", "HEAD") == "main"


async def test_a_large_push_streams_in_and_out(hosted: Hosted, tree: Clone) -> None:
    (tree.path / "big").write_bytes(os.urandom(8 << 20))
    await tree.commit("big")

    await tree.git("push", "origin", "main")
    await tree.git("clone", "-q", hosted.url(), "again")

    assert (tree.path / "again" / "big").read_bytes() == (tree.path / "big").read_bytes()


async def test_a_push_over_the_limit_is_refused(
    host_git: Callable[..., AbstractAsyncContextManager[Hosted]],
) -> None:
    async with host_git(max_push="1 MiB") as hosted:
        tree = await hosted.new_tree()
        (tree.path / "big").write_bytes(os.urandom(2 << 20))
        await tree.commit("big")

        ran = await tree.try_git("push", "origin", "main")
        chunked = await tree.try_git("-c", "http.postBuffer=65536", "push", "origin", "main")

        assert (ran.code != 0, chunked.code != 0) == (True, True)
        assert "413" in ran.err
        assert hosted.host.deliveries == []
        assert await hosted.settled()


async def test_the_environment_of_the_node_does_not_reach_git(
    hosted: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", "'receive.denyCurrentBranch=refuse' 'http.receivepack=false'")
    monkeypatch.setenv("GIT_TRACE", "1")
    tree = await hosted.new_tree()
    await tree.commit("first")

    ran = await tree.try_git("push", "origin", "main")

    assert ran.code == 0
    assert "trace" not in ran.err
