"""Builds find at the socket of their node what they need, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from tests.core.node.test_access import OPEN, ROUTES, RUNNER_ROUTES, fill

from kedge.api import deploy_hooks, peers
from kedge.cli.workers import create_worker
from kedge.testing.node import latest_build

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kedge.testing.node import Repository, RunningNode

NOTHING = "there is nothing at this address"
UPLOADS = "/workers/workers/{worker}/versions/uploads"
#: what is nobody's business but people's, other nodes' and deploy hooks'
OTHERS = [
    *(("GET", path) for path in OPEN),
    ("GET", "/"),
    ("POST", deploy_hooks.CALL),
    *(("POST", route.path) for route in peers.routes),
    ("POST", "/git/default/app.git/git-receive-pack"),
    ("GET", "/git/default/app.git/HEAD"),
]
#: ways to write an address that somebody else may read as another
DISGUISES = [
    "/git/../client/v4/accounts/default/builds",
    "/api/builds/1/job/../../../../healthz",
    "//client/v4/accounts/default/builds",
    "/client/v4/accounts/default/workers/workers/app/versions/uploads/../../../../tokens",
    "/client/v4/accounts/default/workers/workers/app/versions/uploads/%2e%2e/%2e%2e",
    "http://app.localhost/",
]


@pytest.fixture
def client(node: RunningNode) -> Iterator[httpx.Client]:
    """A build that has got hold of the best of tokens."""
    transport = httpx.HTTPTransport(uds=str(node.data_dir / "runner.sock"))
    headers = {"Authorization": f"Bearer {node.server.token}"}
    with httpx.Client(base_url="http://localhost", transport=transport, headers=headers) as client:
        yield client


def is_nothing(answer: httpx.Response) -> bool:
    return answer.status_code == 404 and NOTHING in answer.text


def test_builds_reach_the_routes_of_runners_and_deploys_and_no_other(client: httpx.Client) -> None:
    served = {
        (method, path)
        for method, path in [*ROUTES, *RUNNER_ROUTES, *OTHERS]
        if not is_nothing(client.request(method, fill(path, account="default"), json={}))
    }

    assert {path for _, path in served if not path.startswith("/api/builds/{build_uuid}/")} == {
        f"/client/v4/accounts/{{account}}{UPLOADS}{rest}"
        for rest in ("", "/{upload_id}/files/{sha256}", "/{upload_id}/complete")
    }
    assert set(RUNNER_ROUTES) <= served


@pytest.mark.parametrize("target", DISGUISES)
def test_no_spelling_of_an_address_leads_elsewhere(client: httpx.Client, target: str) -> None:
    request = client.build_request("GET", "/")
    request.extensions["target"] = target.encode()

    assert client.send(request).status_code in {400, 404, 405}


def test_workers_are_reached_by_everybody_but_builds(
    node: RunningNode, repository: Repository, client: httpx.Client
) -> None:
    create_worker(
        node.server, "app", build="", deploy="kedge deploy .", root="/", branch="main", previews=False
    )
    assert node.push(repository, "app").returncode == 0
    assert latest_build(node.server)["build_outcome"] == "success"
    host = {"Host": "app.localhost"}

    page = httpx.get(f"{node.server.url}/readme.txt", headers=host, trust_env=False)
    websocket = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": "x" * 24}

    assert page.text == "hello"
    assert is_nothing(client.get("/readme.txt", headers=host))
    assert is_nothing(client.get("/readme.txt", headers={**host, **websocket}))


def test_builds_clone_and_do_not_push(
    node: RunningNode, repository: Repository, client: httpx.Client
) -> None:
    create_worker(node.server, "app", build="", deploy="", root="/", branch="main", previews=False)
    assert node.push(repository, "app", "main:refs/heads/side").returncode == 0
    repo = "/git/default/app.git"

    told = client.get(f"{repo}/info/refs", params={"service": "git-upload-pack"})

    assert b"refs/heads/side" in told.content
    assert client.post(f"{repo}/git-upload-pack").status_code == 415
    assert is_nothing(client.post(f"{repo}/git-receive-pack"))
