"""An account with a worker, real blobs on disk, and a gateway behind a real socket."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from kedge.contracts.host import Principal
from kedge.db.clock import now_ms
from kedge.db.tables import Account, Build, RepoConnection, Trigger, Worker
from kedge.http.server import Limits, Server
from kedge.testing.fake_host import FakeHost
from kedge.workers.completion import Completed, Wish
from kedge.workers.deployments import Deployments
from kedge.workers.doomed import DoomedBlobs
from kedge.workers.gateway import Gateway
from kedge.workers.manifest import File, Manifest
from kedge.workers.urls import WorkerUrls
from kedge.workers.versions import NewVersion, Versions
from kedge_disk.blobs import DiskBlobs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sqlmodel import Session

    from kedge.contracts.blobs import BlobStore
    from kedge.contracts.events import Deployed, RequestServed
    from kedge.db.engine import Database

URLS = WorkerUrls(public_url="http://127.0.0.1:8787", domain="localhost")

LIMITS = Limits()


@dataclass
class Ears:
    """Listens to the gateway's hook when told to."""

    listening: bool = False
    heard: list[RequestServed] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def listens(self, hook: str) -> bool:
        return self.listening and hook == "kedge_request_served"

    async def request_served(self, request: RequestServed) -> None:
        self.heard.append(request)
        self.news.set()

    async def hears(self, count: int) -> None:
        """Return once it has heard so often."""
        async with asyncio.timeout(60):
            while len(self.heard) < count:
                self.news.clear()
                await self.news.wait()


class Platform:
    """One node's versions, deployments and gateway."""

    def __init__(self, db: Database, blobs: BlobStore) -> None:
        self.db = db
        self.blobs = blobs
        self.urls = URLS
        self.events: list[Deployed] = []
        self.ears = Ears()
        self.deployments = Deployments(db, deployed=self._deployed)
        self.doomed = DoomedBlobs(db, blobs, "node")
        self.versions = Versions(db, blobs, self.deployments, self.doomed)
        self.gateway = Gateway(db, blobs, "localhost", registry=self.ears)
        self.deployments.subscribe(self.gateway.forget)
        self.principal = Principal(account_id="a" * 32, account_name="default", token_name="admin")

    async def _deployed(self, event: Deployed) -> None:
        self.events.append(event)

    async def add_worker(self, name: str, *, account: str = "default") -> str:
        """Make a worker (and its account) and return its tag."""
        return await self.db.write(_add_worker, name, account)

    async def add_build(self, worker_id: str, *, is_production: bool = True) -> str:
        """Make a running build of a worker."""
        return await self.db.write(_add_build, worker_id, is_production=is_production)

    def principal_of(self, account: str) -> Principal:
        """A token of an account."""
        return Principal(account_id=account_id(account), account_name=account, token_name="token")

    def build_principal(self, build_uuid: str) -> Principal:
        """The deploy token of a build."""
        return Principal(
            account_id="a" * 32, account_name="default", token_name="build", build_uuid=build_uuid
        )

    async def upload(
        self,
        files: dict[str, bytes],
        *,
        worker: str = "hello",
        deploy: bool = True,
        alias: str | None = None,
        principal: Principal | None = None,
        message: str = "",
    ) -> Completed:
        """Run the whole protocol."""
        principal = principal or self.principal
        new = NewVersion(manifest=manifest_of(files), message=message)
        begun = await self.versions.begin(principal, worker, new)
        for content in files.values():
            digest = sha256(content).hexdigest()
            if digest in begun.missing:
                await self.versions.put_file(principal, worker, begun.upload_id, digest, pieces(content))
        wish = Wish(deploy=deploy, alias=alias, urls=self.urls)
        return await self.versions.complete(principal, worker, begun.upload_id, wish)


def account_id(account: str) -> str:
    return "a" * 32 if account == "default" else sha256(account.encode()).hexdigest()[:32]


def manifest_of(files: dict[str, bytes]) -> Manifest:
    return Manifest(
        {path: File(sha256(content).hexdigest(), len(content)) for path, content in files.items()}
    )


async def pieces(content: bytes, size: int = 64 * 1024) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


def _add_worker(session: Session, name: str, account: str) -> str:
    if session.get(Account, account_id(account)) is None:
        session.add(Account(id=account_id(account), name=account, created_on=now_ms()))
        session.flush()
    count = len(session.connection().exec_driver_sql("SELECT 1 FROM worker").all())
    worker = Worker(
        id=f"{count:032x}",
        account_id=account_id(account),
        name=name,
        created_on=1000 + count,
        modified_on=1000 + count,
    )
    session.add(worker)
    return worker.id


def _add_build(session: Session, worker_id: str, *, is_production: bool) -> str:
    worker = session.get_one(Worker, worker_id)
    account, now = worker.account_id, now_ms()
    connection = RepoConnection(
        uuid=str(uuid4()),
        account_id=account,
        provider_type="git",
        provider_account_id=str(uuid4()),
        provider_account_name="default",
        repo_id=worker.name,
        repo_name=worker.name,
        created_on=now,
        modified_on=now,
    )
    session.add(connection)
    session.flush()
    trigger = Trigger(
        uuid=str(uuid4()),
        account_id=account,
        worker_id=worker_id,
        repo_connection_uuid=connection.uuid,
        name="production",
        created_on=now,
        modified_on=now,
    )
    session.add(trigger)
    session.flush()
    build = Build(
        build_uuid=str(uuid4()),
        account_id=account,
        worker_id=worker_id,
        trigger_uuid=trigger.uuid,
        forge="git",
        delivery_id="1",
        status="running",
        source="push",
        branch="main" if is_production else "feature",
        commit_hash="0" * 40,
        commit_message="Say hello\n\nAt last.",
        author="Ann",
        is_production=is_production,
        not_before=0,
        created_on=now,
        modified_on=now,
    )
    session.add(build)
    return build.build_uuid


@pytest.fixture
async def blobs(tmp_path: Path) -> AsyncIterator[DiskBlobs]:
    store = DiskBlobs(DiskBlobs.Settings(), host=FakeHost(tmp_path))  # type: ignore[arg-type]
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def platform(db: Database, blobs: DiskBlobs) -> Platform:
    """A node with the worker `hello` in the account `default`."""
    made = Platform(db, blobs)
    await made.add_worker("hello")
    return made


@dataclass
class Answer:
    """What came back over the socket."""

    status: int
    headers: dict[str, str]
    body: bytes


class Site:
    """A gateway behind a socket, asked byte for byte."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def ask(
        self, path: str = "/", *, host: str = "hello.localhost", method: str = "GET", **headers: str
    ) -> Answer:
        """Send one request as it is; `if_none_match=…` becomes `If-None-Match: …`."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}:{self.port}", "Connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        data = await asyncio.wait_for(reader.read(), 60)
        writer.close()
        head, _, body = data.partition(b"\r\n\r\n")
        first, *rest = head.decode("latin-1").split("\r\n")
        pairs = (line.split(": ", 1) for line in rest)
        return Answer(int(first.split()[1]), {name.lower(): value for name, value in pairs}, body)


@asynccontextmanager
async def serve(app: Any, *, limits: Limits = LIMITS, shortcut: Any = None) -> AsyncIterator[Site]:
    """Serve an ASGI application on a free port."""
    # Named as TCP, or asyncio does not switch off Nagle's algorithm on what it accepts.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    server = Server(app, limits, shortcut=shortcut)
    await server.open([listener])
    try:
        yield Site(listener.getsockname()[1])
    finally:
        await server.close(patience=5.0)
        listener.close()


@pytest.fixture
async def site(platform: Platform) -> AsyncIterator[Site]:
    async with serve(platform.gateway) as made:
        yield made


@pytest.fixture
def serving() -> Any:
    """Serves any ASGI application: `async with serving(app) as site`."""
    return serve
