"""The routes over a real socket, and the client that builds and the command line use."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount

from kedge.api import deployments, versions
from kedge.api.errors import HANDLERS
from kedge_runner.deploy import deploy_directory

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from starlette.types import ASGIApp, Receive, Scope, Send

# `deploy_directory` leaves its first connection to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"
)

BASE = "/client/v4/accounts/default"
HELLO = f"{BASE}/workers/workers/hello"


class LetIn:
    """Stands for the access layer: everybody is the platform's principal."""

    def __init__(self, app: ASGIApp, platform: Any) -> None:
        self.app = app
        self.platform = platform

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        principal = self.platform.principal
        scope.setdefault("state", {}).update(principal=principal, account_id=principal.account_id)
        await self.app(scope, receive, send)


@pytest.fixture
async def api(platform: Any, serving: Any) -> AsyncIterator[httpx.AsyncClient]:
    app = Starlette(
        routes=[Mount("/client/v4/accounts/{account}", routes=[*versions.routes, *deployments.routes])],
        middleware=[Middleware(LetIn, platform=platform)],
        exception_handlers=HANDLERS,
    )
    app.state.services = SimpleNamespace(
        versions=platform.versions,
        deployments=platform.deployments,
        running=None,
        public_url="http://127.0.0.1:8787",
        settings=SimpleNamespace(server=SimpleNamespace(domain="localhost")),
    )
    async with (
        serving(app) as site,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{site.port}", trust_env=False) as client,
    ):
        yield client


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "dist"
    (made / "sub").mkdir(parents=True)
    (made / "index.html").write_text("<h1>Hello</h1>")
    (made / "sub" / "ünlich & co.txt").write_text("odd")
    (made / "big.bin").write_bytes(bytes(range(256)) * 4096)
    return made


async def deploy(api: httpx.AsyncClient, folder: Path, **more: Any) -> dict[str, Any]:
    where: dict[str, Any] = {
        "url": str(api.base_url).rstrip("/"),
        "token": "t",
        "account": "default",
        "worker": "hello",
    }
    return await asyncio.to_thread(deploy_directory, folder, **where, **more)


async def test_a_folder_is_deployed_and_served(api: Any, folder: Path, platform: Any, site: Any) -> None:
    first = await deploy(api, folder, message="first")
    second = await deploy(api, folder)

    assert (first["number"], first["uploaded"], first["url"]) == (1, 3, "http://hello.localhost:8787/")
    assert (second["number"], second["uploaded"]) == (2, 0)
    assert (await site.ask("/")).body == b"<h1>Hello</h1>"
    assert (await site.ask("/sub/%C3%BCnlich%20&%20co.txt")).body == b"odd"


async def test_a_preview_is_deployed_under_its_alias(api: Any, folder: Path, site: Any) -> None:
    made = await deploy(api, folder, deploy=False, alias="next")

    assert made["alias_url"] == "http://next-hello.localhost:8787/"
    assert (await site.ask("/", host="next-hello.localhost")).status == 200
    assert (await site.ask("/")).status == 404


async def test_deployments_have_the_shape_that_clients_know(api: Any, folder: Path) -> None:
    made = await deploy(api, folder, message="first")
    for kind in ("workers", "scripts"):
        response = await api.get(f"{BASE}/workers/{kind}/hello/deployments")
        [found] = response.json()["result"]["deployments"]
        assert found == {
            "id": found["id"],
            "created_on": found["created_on"],
            "source": "api",
            "strategy": "percentage",
            "versions": [{"version_id": made["version_id"], "percentage": 100}],
            "annotations": {"workers/message": "first"},
            "kedge": {"state": "active", "failure": None},
            "author_email": "admin",
        }
        one = await api.get(f"{BASE}/workers/{kind}/hello/deployments/{found['id']}")
        assert one.json()["result"] == found


async def test_versions_have_the_shape_that_clients_know(api: Any, folder: Path) -> None:
    made = [await deploy(api, folder) for _ in range(3)]
    page = (await api.get(f"{HELLO}/versions?page=2&per_page=2")).json()
    assert (page["result_info"]["total_count"], page["result_info"]["total_pages"]) == (3, 2)
    items = page["result"]["items"]
    assert [(item["id"], item["number"]) for item in items] == [(made[0]["version_id"], 1)]

    one = (await api.get(f"{BASE}/workers/scripts/hello/versions/{made[0]['version_id']}")).json()["result"]
    assert one["metadata"]["source"] == "api"
    assert one["kedge"]["file_count"] == 3
    assert (await api.get(f"{HELLO}/versions/none")).status_code == 404


async def test_an_earlier_version_is_deployed_and_rolled_back_to(api: Any, folder: Path) -> None:
    first, second = [(await deploy(api, folder))["version_id"] for _ in range(2)]
    body = {"strategy": "percentage", "versions": [{"version_id": first, "percentage": 100}]}
    deployed = await api.post(f"{BASE}/workers/scripts/hello/deployments", json=body)
    assert deployed.json()["result"]["versions"][0]["version_id"] == first

    rolled_back = (await api.post(f"{HELLO}/rollback", json={"version_id": None})).json()["result"]
    assert rolled_back["versions"][0]["version_id"] == second
    assert rolled_back["annotations"] == {"workers/triggered_by": "rollback"}


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/deployments", {"versions": [{"version_id": "none", "percentage": 100}]}, 404),
        ("/deployments", {"versions": [{"version_id": "none", "percentage": 50}]}, 400),
        ("/deployments", {"versions": []}, 400),
        ("/rollback", {}, 409),
        ("/versions/uploads", {"kind": "static", "files": {"../x": {"sha256": "0" * 64, "size": 0}}}, 400),
        ("/versions/uploads", {"kind": "static", "files": {"x": {"sha256": "0" * 63, "size": 0}}}, 400),
        ("/versions/uploads", {"kind": "static", "files": {"x": {"sha256": "0" * 64, "size": -1}}}, 400),
        ("/versions/uploads", {"kind": "static", "files": {"x": {"sha256": "0" * 64, "size": 1 << 40}}}, 413),
        ("/versions/uploads", {"kind": "static", "files": {}}, 400),
        ("/versions/uploads", {"kind": "worker", "files": {}}, 400),
        ("/versions/uploads", {"kind": "static", "files": {}, "message": "a\0b"}, 400),
        ("/versions/uploads/none/complete", {"deploy": True}, 404),
        ("/versions/uploads", [], 400),
    ],
)
async def test_what_cannot_be_is_refused(api: Any, path: str, body: Any, status: int) -> None:
    response = await api.post(f"{HELLO}{path}", json=body)

    assert response.status_code == status
    assert response.json()["errors"][0]["message"]


async def test_a_body_that_is_too_large_is_not_taken_in(
    api: Any, platform: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "MANIFEST_LIMIT", 1000)
    assert (await api.post(f"{HELLO}/versions/uploads", content=b"x" * 1001)).status_code == 413
    monkeypatch.setattr(versions, "LARGEST_PROGRAM_FILE", 1000)
    path = f"{HELLO}/versions/uploads/none/files/{'0' * 64}"
    assert (await api.put(path, content=b"x" * 1001)).status_code == 413


async def test_an_upload_that_breaks_off_leaves_nothing(api: Any, platform: Any) -> None:
    digest = "0" * 64
    body = {"kind": "static", "files": {"x": {"sha256": digest, "size": 1000}}}
    upload = (await api.post(f"{HELLO}/versions/uploads", json=body)).json()["result"]
    _, writer = await asyncio.open_connection("127.0.0.1", api.base_url.port)
    path = f"{HELLO}/versions/uploads/{upload['upload_id']}/files/{digest}"
    writer.write(f"PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n".encode() + b"x" * 500)
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    response = await api.post(f"{HELLO}/versions/uploads/{upload['upload_id']}/complete", json={})

    assert response.status_code == 409
    assert [info.key async for info in platform.blobs.list("files/")] == []
