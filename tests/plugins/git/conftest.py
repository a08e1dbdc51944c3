from __future__ import annotations

import asyncio
import fcntl
import os
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import uvicorn
from starlette.applications import Starlette

from kedge import Repo
from kedge.testing.fake_host import FakeHost
from kedge_git import kedge_register_routes
from kedge_git.forge import GitForge
from kedge_git.settings import GitSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path
    from socket import socket

TOKEN = "a-token"


@dataclass(frozen=True, kw_only=True)
class Ran:
    """How a git command ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, kw_only=True)
class Clone:
    """A working tree with a real git client."""

    path: Path

    async def start(self, *argv: str) -> asyncio.subprocess.Process:
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.path.parent),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "LC_ALL": "C.UTF-8",
        }
        identity = (
            "-c",
            "user.name=Ada",
            "-c",
            "user.email=ada@example.com",
            "-c",
            "advice.detachedHead=false",
        )
        return await asyncio.create_subprocess_exec(
            "git",
            *identity,
            *argv,
            cwd=self.path,
            env=env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )

    async def try_git(self, *argv: str) -> Ran:
        process = await self.start(*argv)
        out, err = await process.communicate()
        assert process.returncode is not None
        return Ran(
            code=process.returncode, out=out.decode(errors="replace"), err=err.decode(errors="replace")
        )

    async def git(self, *argv: str) -> str:
        ran = await self.try_git(*argv)
        assert ran.code == 0, ran.err
        return ran.out.strip()

    async def commit(self, message: str = "a commit", **files: str) -> str:
        for name, text in files.items():
            (self.path / name).write_text(text)
        await self.git("add", "-A")
        await self.git("commit", "-q", "--allow-empty", "-m", message)
        return await self.git("rev-parse", "HEAD")


@dataclass(frozen=True, kw_only=True)
class Hosted:
    """A node's git forge behind a real HTTP server."""

    host: FakeHost
    forge: GitForge
    folder: Path

    def url(self, name: str = "hello", *, token: str = TOKEN, owner: str = "default") -> str:
        return self.host.public_url.replace("//", f"//ada:{token}@") + f"/git/{owner}/{name}.git"

    async def make(self, name: str = "hello") -> Repo:
        repo = Repo(forge="git", owner="default", name=name)
        await self.forge.ensure_repo(repo)
        return repo

    async def settled(self) -> bool:
        """Wait until the node has let go of every push; whether the journal is empty then."""
        folder = self.host.data_dir / "git" / "pushes"
        for path in list(folder.iterdir()):
            with suppress(FileNotFoundError), path.open() as entry:
                await asyncio.to_thread(fcntl.flock, entry, fcntl.LOCK_EX)
        return not list(folder.iterdir())

    async def new_tree(self, name: str = "tree", *, remote: str = "hello") -> Clone:
        """A working tree of its own whose `origin` is the hosted repository, made if need be."""
        await self.make(remote)
        path = self.folder / name
        path.mkdir()
        clone = Clone(path=path)
        await clone.git("init", "-q", "-b", "main")
        await clone.git("remote", "add", "origin", self.url(remote))
        return clone


class Server(uvicorn.Server):
    """Tells when it listens, and leaves signals to pytest."""

    def __init__(self, app: Starlette) -> None:
        super().__init__(
            uvicorn.Config(app, port=0, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
        )
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.servers[0].sockets[0].getsockname()[1]}"


@asynccontextmanager
async def serve(app: Starlette) -> AsyncIterator[str]:
    """A server on a port of its own; yields its URL."""
    server = Server(app)
    serving = asyncio.create_task(server._serve())
    await server.listening.wait()
    try:
        yield server.url
    finally:
        server.should_exit = True
        await serving


@asynccontextmanager
async def hosting(folder: Path, settings: GitSettings | None = None) -> AsyncIterator[Hosted]:
    host = FakeHost(folder / "data")
    host.data_dir.mkdir(exist_ok=True)
    host.grant(TOKEN)
    forge = GitForge(settings or GitSettings(), host)
    await forge.open()
    async with serve(Starlette(routes=kedge_register_routes(host))) as url:
        host.public_url = url
        yield Hosted(host=host, forge=forge, folder=folder)
    await forge.close()


@pytest.fixture
async def hosted(tmp_path: Path) -> AsyncIterator[Hosted]:
    async with hosting(tmp_path) as it:
        yield it


@pytest.fixture
def host_git(tmp_path: Path) -> Callable[..., AbstractAsyncContextManager[Hosted]]:
    """Host with settings of the test's own, as often as it likes in one folder."""
    return lambda **settings: hosting(tmp_path, GitSettings(**settings))
