"""The whole API over a real database, real blobs and logs, and a compute and a forge that tests steer."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import pytest
from sqlmodel import select
from tests.core.api.routes import check_shape, validator

from kedge.config import Settings
from kedge.contracts.forge import Repo
from kedge.db.bus import Bus
from kedge.db.clock import now_ms
from kedge.db.tables import Account, ApiToken, Attempt
from kedge.node.parts import Parts
from kedge.registry import Registry
from kedge.registry.hooks import Hooks
from kedge.registry.loading import Loaded, Registered
from kedge.testing.fake_compute import FakeCompute
from kedge.testing.fake_forge import FakeForge
from kedge.testing.fake_runtime import FakeRuntime
from kedge.tokens import hash_token, new_token
from kedge_disk.blobs import DiskBlobs
from kedge_disk.log_store import DiskLogs
from kedge_s3.blobs import S3Blobs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sqlmodel import Session

    from kedge.db.engine import Database

URL = "http://kedge.test"
REFUSAL = validator("GET", "/client/v4/accounts/{account}/workers/workers", 404)
TRIGGER: dict[str, Any] = {
    "trigger_name": "production",
    "build_command": "make",
    "deploy_command": "kedge deploy dist",
    "root_directory": "/",
    "branch_includes": ["main"],
    "branch_excludes": [],
    "path_includes": ["*"],
    "path_excludes": [],
}


@dataclass(frozen=True, kw_only=True)
class Project:
    """A worker with its repository and a trigger."""

    worker: str
    tag: str
    connection: str
    trigger: str
    repo: Repo


@dataclass
class Caller:
    """Somebody with a token, and the account whose routes they call."""

    client: httpx.AsyncClient
    account: str
    account_id: str
    token: str = field(repr=False)

    async def call(self, method: str, path: str, body: Any = None, **more: Any) -> httpx.Response:
        """Call a route below the account."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        headers.update(more.pop("headers", {}))
        url = f"/client/v4/accounts/{self.account}{path}"
        json = {} if body is None else {"json": body}
        return await self.client.request(method, url, headers=headers, **json, **more)

    async def result(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """The result of a call that goes well."""
        response = await self.call(method, path, body, **more)
        assert response.status_code == 200, response.text
        envelope = response.json()
        assert envelope["success"] is True
        assert envelope["errors"] == []
        check_shape(method, path, envelope)
        return envelope["result"]

    async def refusal(self, method: str, path: str, body: Any = None, **more: Any) -> tuple[int, int, str]:
        """Status, code and message of a call that is refused."""
        response = await self.call(method, path, body, **more)
        envelope = response.json()
        assert envelope["success"] is False, envelope
        REFUSAL.validate(envelope)
        error = envelope["errors"][0]
        return response.status_code, error["code"], error["message"]

    async def make_project(self, worker: str = "hello", **trigger: Any) -> Project:
        """A worker that builds a repository of the same name."""
        tag = (await self.result("POST", "/workers/workers", {"name": worker}))["id"]
        body = {"provider_type": "fake", "repo_id": worker}
        connection = (await self.result("PUT", "/builds/repos/connections", body))["repo_connection_uuid"]
        body = {"external_script_id": tag, "repo_connection_uuid": connection, **TRIGGER, **trigger}
        made = await self.result("POST", "/builds/triggers", body)
        return Project(
            worker=worker,
            tag=tag,
            connection=connection,
            trigger=made["trigger_uuid"],
            repo=Repo(forge="fake", owner=self.account, name=worker),
        )


class World:
    """One node's API, and accounts that call it."""

    def __init__(self, parts: Parts, client: httpx.AsyncClient) -> None:
        self.parts = parts
        self.client = client
        self.db: Database = parts.builds.db

    @property
    def compute(self) -> FakeCompute:
        found = self.parts.compute
        assert isinstance(found, FakeCompute)
        return found

    @property
    def forge(self) -> FakeForge:
        found = self.parts.forges["fake"]
        assert isinstance(found, FakeForge)
        return found

    async def caller(self, account: str, *, can_write: bool = True) -> Caller:
        """A fresh token of an account, made if need be."""
        token = new_token("api")
        account_id = await self.db.write(_add_token, account, hash_token(token), can_write)
        return Caller(self.client, account, account_id, token)

    def nobody(self, account: str = "default", token: str = "") -> Caller:
        """A caller without a token, or with one that nobody gave out."""
        return Caller(self.client, account, "", token)

    async def build(self, caller: Caller, project: Project, **push: Any) -> str:
        """Queue a build of a fresh commit by hand."""
        made = self.forge.commit(project.repo, **push)
        path = f"/builds/triggers/{project.trigger}/builds"
        return str((await caller.result("POST", path, {"branch": made.branch}))["build_uuid"])

    async def started(self, build_uuid: str) -> str:
        """The token of a build's runner, once compute has started it."""
        while True:
            for request in self.compute.requests:
                if request.build_uuid == build_uuid:
                    return request.token
            await asyncio.sleep(0)

    async def recorded(self, build_uuid: str) -> None:
        """Wait until the start of a build stands in the database; nothing more happens to it by itself."""
        while not await self.db.read(_is_recorded, build_uuid):
            pass

    async def report(self, build_uuid: str, token: str, **status: Any) -> httpx.Response:
        """What a runner says of its status."""
        return await self.client.put(
            f"/api/builds/{build_uuid}/status",
            json={"attempt": 1, **status},
            headers={"Authorization": f"Bearer {token}"},
        )


def _is_recorded(session: Session, build_uuid: str) -> bool:
    ids = session.exec(select(Attempt.compute_id).where(Attempt.build_uuid == build_uuid))
    return any(ids)


def _add_token(session: Session, account: str, token_hash: str, can_write: bool) -> str:  # noqa: FBT001
    account_id = hash_token(account)[:32]
    if session.get(Account, account_id) is None:
        session.add(Account(id=account_id, name=account, created_on=now_ms()))
        session.flush()
    session.add(
        ApiToken(
            id=str(uuid4()),
            account_id=account_id,
            name="test",
            token_hash=token_hash,
            can_write=can_write,
            created_on=now_ms(),
        )
    )
    return account_id


def _registry() -> Registry:
    chosen: dict[str, dict[str, type[Any]]] = {
        "compute": {"fake": FakeCompute},
        "runtime": {"fake": FakeRuntime},
        "forges": {"fake": FakeForge},
        "blobs": {"disk": DiskBlobs, "s3": S3Blobs},
        "logs": {"disk": DiskLogs},
        "placement": {},
    }
    classes = {
        section: {name: Registered(cls=cls, plugin=None) for name, cls in those.items()}
        for section, those in chosen.items()
    }
    return Registry(Loaded(installed={}, hooks=Hooks(), classes=classes))


@asynccontextmanager
async def open_world(db: Database, folder: Path, **changed: Any) -> AsyncIterator[World]:
    """A world whose settings are changed."""
    settings = Settings.model_validate(
        {
            "server": {"data_dir": folder},
            "compute": {"use": "fake"},
            "forges": {"use": ["fake"]},
            "builds": {"stop_grace": 0.1},
        }
        | changed
    )
    bus = Bus(db, "test")
    parts = Parts(settings, _registry(), db, bus, URL)
    async with AsyncExitStack() as stack:
        await bus.open()
        stack.push_async_callback(bus.close)
        await parts.open(stack)
        transport = httpx.ASGITransport(parts.front, raise_app_exceptions=False)
        client = await stack.enter_async_context(
            httpx.AsyncClient(transport=transport, base_url=URL, trust_env=False)
        )
        yield World(parts, client)


@pytest.fixture
async def world(db: Database, tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(db, tmp_path) as opened:
        yield opened


@pytest.fixture
async def me(world: World) -> Caller:
    return await world.caller("default")


@pytest.fixture
async def stranger(world: World) -> Caller:
    return await world.caller("stranger")
