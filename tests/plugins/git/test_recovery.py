"""Pushes whose node died, or whose git did."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sys
from typing import TYPE_CHECKING

import pytest

from kedge_git.forge import GitForge
from kedge_git.intake import Intake
from kedge_git.layout import Layout
from kedge_git.settings import GitSettings

if TYPE_CHECKING:
    from pathlib import Path

    from tests.plugins.git.conftest import Clone, Hosted

    from kedge import Repo
    from kedge.testing.fake_host import FakeHost

ZERO = "0" * 40
NODE = """
import asyncio, sys
from pathlib import Path
import uvicorn
from starlette.applications import Starlette
from kedge.testing.fake_host import FakeHost
from kedge_git import kedge_register_routes
from kedge_git.forge import GitForge
from kedge_git.settings import GitSettings

class Host(FakeHost):
    async def receive(self, delivery):
        print("receiving", flush=True)
        await asyncio.Event().wait()

class Server(uvicorn.Server):
    async def startup(self, sockets=None):
        await super().startup(sockets)
        print(self.servers[0].sockets[0].getsockname()[1], flush=True)

async def main():
    host = Host(Path(sys.argv[1]))
    host.grant("a-token")
    await GitForge(GitSettings(), host).open()
    app = Starlette(routes=kedge_register_routes(host))
    await Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off")).serve()

asyncio.run(main())
"""


class Left:
    """A repository with two commits on `main`, and a journal to write in."""

    def __init__(self, hosted: Hosted, tree: Clone, repo: Repo, first: str, second: str) -> None:
        self.host: FakeHost = hosted.host
        self.tree = tree
        self.first, self.second = first, second
        self.layout = Layout.of(hosted.host)
        self.repo_path = self.layout.repo_path(repo)

    def note(self, *updates: tuple[str, str, str], push_id: str = "left") -> Path:
        path = self.layout.pushes / push_id
        lines = "".join(f"{old} {new} {ref}\n" for old, new, ref in updates)
        path.write_text(f"default/hello\n{lines}")
        return path

    async def restart(self) -> None:
        forge = GitForge(GitSettings(), self.host)
        await forge.open()
        await forge.close()

    def is_settled(self) -> bool:
        return not list(self.layout.pushes.iterdir())


@pytest.fixture
async def left(hosted: Hosted) -> Left:
    tree = await hosted.new_tree()
    first = await tree.commit("first")
    await tree.git("push", "origin", "main")
    second = await tree.commit("second", more="1")
    await tree.git("push", "origin", "main")
    hosted.host.deliveries.clear()
    return Left(hosted, tree, await hosted.make(), first, second)


async def test_a_push_that_happened_is_handed_in_at_the_next_start(left: Left) -> None:
    left.note((left.first, left.second, "refs/heads/main"))

    await left.restart()

    [delivery] = left.host.deliveries
    [push] = delivery.pushes
    assert (delivery.delivery_id, push.branch, push.commit_hash) == ("left", "main", left.second)
    assert (push.before, push.changed_paths) == (left.first, ("more",))
    assert left.is_settled()


async def test_a_push_that_another_has_overtaken_is_handed_in_as_well(left: Left) -> None:
    left.note((ZERO, left.first, "refs/heads/main"))

    await left.restart()

    assert [push.commit_hash for push in left.host.pushes] == [left.first]


@pytest.mark.parametrize(
    "update",
    [
        (ZERO, "1" * 40, "refs/heads/main"),
        (ZERO, "{first}", "refs/heads/gone"),
        ("{first}", ZERO, "refs/heads/main"),
        (ZERO, "{first}", "refs/tags/v1"),
        (ZERO, "{first}", "refs/heads/main@{0}"),
        (ZERO, "{first}", "refs/heads/../heads/main"),
        (ZERO, "--output=pwned", "refs/heads/main"),
    ],
)
async def test_what_did_not_happen_is_forgotten(left: Left, update: tuple[str, str, str]) -> None:
    old, new, ref = (part.replace("{first}", left.first) for part in update)
    left.note((old, new, ref))

    await left.restart()

    assert left.host.deliveries == []
    assert left.is_settled()


@pytest.mark.parametrize(
    "text", [b"", b"default", b"default/hello\n", b"../x/y\n1 2 3\n", b"\xff\xff", b"\n\n"]
)
async def test_an_unfinished_or_damaged_entry_is_forgotten(left: Left, text: bytes) -> None:
    (left.layout.pushes / "left").write_bytes(text)
    (left.layout.pushes / ".draft").write_bytes(text)

    await left.restart()

    assert left.host.deliveries == []
    assert left.is_settled()


async def test_an_incomplete_last_line_counts_as_not_there(left: Left) -> None:
    path = left.note((left.first, left.second, "refs/heads/main"))
    path.write_bytes(path.read_bytes()[:-3])

    await left.restart()

    assert left.host.deliveries == []


async def test_a_push_that_was_handed_in_before_the_kill_is_not_handed_in_twice(left: Left) -> None:
    for _ in range(2):
        left.note((left.first, left.second, "refs/heads/main"))
        await left.restart()

    assert len(left.host.deliveries) == 1
    assert left.is_settled()


async def test_an_entry_that_the_host_does_not_take_stays_for_the_next_look(left: Left) -> None:
    left.note((left.first, left.second, "refs/heads/main"))
    left.host.failures.append(RuntimeError("database is away"))

    await left.restart()
    assert not left.is_settled()
    await Intake(left.host, left.layout).sweep()

    assert len(left.host.deliveries) == 1
    assert left.is_settled()


async def test_a_push_that_git_still_works_on_is_left_alone(left: Left) -> None:
    path = left.note((left.first, left.second, "refs/heads/main"))
    fd = os.open(path, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)

    await left.restart()
    assert left.host.deliveries == []
    os.close(fd)
    await Intake(left.host, left.layout).sweep()

    assert len(left.host.deliveries) == 1


async def test_a_lock_that_a_killed_git_left_no_longer_blocks_the_branch(left: Left) -> None:
    left.note((left.second, "1" * 40, "refs/heads/main"))
    (left.repo_path / "refs" / "heads" / "main.lock").touch()

    await left.restart()
    await left.tree.commit("third")

    await left.tree.git("push", "origin", "main")


async def test_a_hostile_ref_in_the_journal_removes_no_file(left: Left, tmp_path: Path) -> None:
    (left.repo_path / "victim.lock").touch()
    left.note((ZERO, left.first, "refs/heads/../../victim"), (ZERO, left.first, "refs/../victim"))

    await left.restart()

    assert (left.repo_path / "victim.lock").exists()


async def test_a_push_accepted_by_a_node_that_is_killed_is_handed_in_by_the_next(left: Left) -> None:
    node = await asyncio.create_subprocess_exec(
        sys.executable, "-c", NODE, str(left.host.data_dir), stdout=asyncio.subprocess.PIPE
    )
    assert node.stdout is not None
    port = int(await node.stdout.readline())
    third = await left.tree.commit("third")
    url = f"http://x:a-token@127.0.0.1:{port}/git/default/hello.git"

    push = await left.tree.start("push", url, "main")
    assert await node.stdout.readline() == b"receiving\n"
    node.kill()
    await node.wait()
    await push.communicate()
    await left.restart()
    await left.host.wait_for_deliveries(1) if left.is_settled() else await _sweep_until_settled(left)

    assert [received.commit_hash for received in left.host.pushes] == [third]


async def _sweep_until_settled(left: Left) -> None:
    """Git outlives its node for a moment: wait for its lock."""
    [path] = left.layout.pushes.iterdir()
    with path.open() as entry:
        await asyncio.to_thread(fcntl.flock, entry, fcntl.LOCK_EX)
    await Intake(left.host, left.layout).sweep()
