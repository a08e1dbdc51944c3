"""What a pusher is shown."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import pytest

from kedge import NotFound

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from tests.plugins.git.conftest import Clone, Hosted

    HostGit = Callable[..., AbstractAsyncContextManager[Hosted]]


@pytest.fixture
async def tree(hosted: Hosted) -> Clone:
    tree = await hosted.new_tree()
    await tree.commit("first")
    return tree


def remote_lines(err: str) -> list[str]:
    """What came from the server, without the blanks that git clears a line with."""
    lines = [line for line in err.splitlines() if line.startswith("remote:")]
    return [line.removeprefix("remote:").strip() for line in lines]


async def test_the_log_is_shown_while_it_grows_and_the_last_line_last(hosted: Hosted, tree: Clone) -> None:
    build = hosted.host.build_on("main")
    push = await tree.start("push", "origin", "main")
    assert push.stderr is not None
    await build.wait_for_followers(1)

    build.write(b"installing\n")
    shown = await push.stderr.readuntil(b"remote: installing")
    build.write(b"built in ")
    build.write(b"1 s\n")
    build.finish(b"\nhttp://hello.localhost:8787/\n")
    rest = await push.stderr.read()

    commit_hash = await tree.git("rev-parse", "--short=7", "HEAD")
    assert f"Build {build.build_uuid} of main at {commit_hash}" in remote_lines(shown.decode())
    assert remote_lines(rest.decode())[-3:] == ["built in 1 s", "", "http://hello.localhost:8787/"]
    assert await push.wait() == 0


async def test_an_interrupted_push_stays_pushed_and_the_follower_leaves(hosted: Hosted, tree: Clone) -> None:
    build = hosted.host.build_on("main")
    push = await tree.start("push", "origin", "main")
    await build.wait_for_followers(1)

    os.killpg(push.pid, signal.SIGINT)
    await push.communicate()
    await build.wait_for_followers(0)

    [received] = hosted.host.pushes
    assert (await hosted.forge.resolve(received.repo, "main")).commit_hash == received.commit_hash


async def test_without_a_trigger_the_pusher_is_told_so(hosted: Hosted, tree: Clone) -> None:
    ran = await tree.try_git("push", "origin", "main")

    assert remote_lines(ran.err) == ["No trigger matches main: nothing is built."]


async def test_a_branch_whose_name_would_drive_a_terminal_is_told_without_that(
    hosted: Hosted, tree: Clone
) -> None:
    ran = await tree.try_git("push", "origin", "main:main\x9b2J")

    assert remote_lines(ran.err) == ["No trigger matches main: nothing is built."]


async def test_a_tag_is_not_commented_on(hosted: Hosted, tree: Clone) -> None:
    ran = await tree.try_git("push", "origin", "main:refs/tags/v1")

    assert (ran.code, remote_lines(ran.err)) == (0, [])


async def test_several_builds_are_shown_one_after_the_other(hosted: Hosted, tree: Clone) -> None:
    first, second = hosted.host.build_on("main"), hosted.host.build_on("main")
    second.finish(b"two")
    first.finish(b"one")

    ran = await tree.try_git("push", "origin", "main")

    lines = [line for line in remote_lines(ran.err) if not line.startswith("Build ")]
    assert lines == ["one", "two"]
    assert f"Build {second.build_uuid}" in ran.err


async def test_a_log_of_any_bytes_gets_through(hosted: Hosted, tree: Clone) -> None:
    build = hosted.host.build_on("main")
    build.write(b"nul\0nul \xff\xfe\n" + b"x" * 300_000 + b"\n")
    build.finish(b"the end\n")

    ran = await tree.try_git("push", "origin", "main")

    assert "nulnul" in ran.err
    assert ran.err.count("x") >= 300_000
    assert "remote: the end" in ran.err


async def test_of_what_a_build_prints_only_text_and_colours_reach_the_terminal_of_the_pusher(
    hosted: Hosted, tree: Clone
) -> None:
    build = hosted.host.build_on("main")
    build.write(
        b"\x1b]0;owned\x07\x1b[2J\x1b[?1049hclear \xc2\x9b2J\x1b[\0002J \x1b[32mgreen\x1b[0m \x1b]52;c;Y"
    )
    build.write(b"20=\x1b")
    build.write(b"\\ caf\xc3")
    build.write(b"\xa9 \x1b[3")
    build.write(b"1mred\n")
    build.finish(b"the end\n")

    ran = await tree.try_git("push", "origin", "main")

    shown = ran.err.replace("\x1b[K", "").split("remote: ")
    assert "clear 2J \x1b[32mgreen\x1b[0m  café \x1b[31mred" in [line.strip() for line in shown]
    assert "\x1b[0m" in shown[-1]


async def test_a_log_that_cannot_be_read_ends_the_push_well(hosted: Hosted, tree: Clone) -> None:
    build = hosted.host.build_on("main")
    hosted.host.follow = _no_log  # type: ignore[method-assign,assignment]

    ran = await tree.try_git("push", "origin", "main")

    assert ran.code == 0
    assert f"Build {build.build_uuid}" in ran.err
    assert "Its log cannot be shown: it is gone" in ran.err


def _no_log(build_uuid: str) -> None:
    raise NotFound("it is gone")


async def test_a_push_that_cannot_be_taken_in_succeeds_and_is_taken_in_later(
    hosted: Hosted, tree: Clone
) -> None:
    hosted.host.failures.append(RuntimeError("database is away"))

    ran = await tree.try_git("push", "origin", "main")
    await hosted.host.wait_for_deliveries(1)

    assert ran.code == 0
    assert "could not take it in now" in ran.err
    assert len(hosted.host.pushes) == 1


async def test_following_can_be_turned_off(host_git: HostGit) -> None:
    async with host_git(follow=False) as hosted:
        tree = await hosted.new_tree()
        await tree.commit("first")
        build = hosted.host.build_on("main")

        ran = await tree.try_git("push", "origin", "main")

        assert f"To see its log: kedge builds logs -f {build.build_uuid}" in remote_lines(ran.err)


async def test_one_follower_too_many_is_told_where_the_log_is(host_git: HostGit) -> None:
    async with host_git(followers=1) as hosted:
        tree = await hosted.new_tree()
        await tree.commit("first")
        build = hosted.host.build_on("main")
        hosted.host.build_on("other").finish()
        following = await tree.start("push", "origin", "main")
        await build.wait_for_followers(1)

        ran = await tree.try_git("push", "origin", "main:other")
        build.finish()
        await following.communicate()

        assert "To see its log" in ran.err


async def test_a_push_that_shows_a_log_holds_up_nobody(host_git: HostGit) -> None:
    async with host_git(concurrency=1, pushes=1) as hosted:
        tree = await hosted.new_tree()
        await tree.commit("first")
        build = hosted.host.build_on("main")
        following = await tree.start("push", "origin", "main")
        await build.wait_for_followers(1)

        await asyncio.gather(
            tree.git("push", "origin", "main:other"), tree.git("clone", "-q", hosted.url(), "again")
        )
        build.finish()

        await following.communicate()
        assert following.returncode == 0


async def test_a_node_that_stops_lets_its_pushers_go(host_git: HostGit) -> None:
    async with host_git() as hosted:
        tree = await hosted.new_tree()
        await tree.commit("first")
        build = hosted.host.build_on("main")
        following = await tree.start("push", "origin", "main")
        await build.wait_for_followers(1)

    await following.communicate()
    assert build.followers == 0
    assert len(hosted.host.deliveries) == 1
    assert await hosted.settled()
