"""Nothing is reached without a token, and nobody's things by anybody else."""

from __future__ import annotations

import re
import sqlite3
from typing import TYPE_CHECKING

import httpx
import pytest

from kedge.api.app import ACCOUNT, ACCOUNT_ROUTES
from kedge.api.openapi import document
from kedge.cli.workers import create_worker
from kedge.testing.node import latest_build
from kedge.tokens import hash_token

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kedge.testing.node import Repository, RunningNode

OPEN = {"/healthz", "/readyz", "/openapi.json"}
ROUTES = [
    (method, ACCOUNT + route.path)
    for route in ACCOUNT_ROUTES
    for method in sorted((route.methods or set()) - {"HEAD"})
]
RUNNER_ROUTES = [
    (method.upper(), path)
    for path, operations in document()["paths"].items()
    if path.startswith("/api/")
    for method in operations
]
STRANGER = "stranger-token"


@pytest.fixture
def client(node: RunningNode) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=node.server.url, trust_env=False) as client:
        yield client


def fill(path: str, **values: str) -> str:
    return re.sub(r"{(\w+)(?::\w+)?}", lambda found: values.get(found[1], "1"), path)


def add_stranger(data_dir: Path) -> None:
    """Another account with a token of its own."""
    with sqlite3.connect(data_dir / "kedge.db") as db:
        db.execute("INSERT INTO account (id, name, created_on) VALUES ('f00', 'stranger', 1)")
        db.execute(
            "INSERT INTO api_token (id, account_id, name, token_hash, can_write, created_on) "
            "VALUES ('t', 'f00', 'x', ?, 1, 1)",
            (hash_token(STRANGER),),
        )


def test_every_route_wants_a_token(client: httpx.Client) -> None:
    for method, path in [*ROUTES, *RUNNER_ROUTES]:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic eDp5"}):
            answer = client.request(method, fill(path, account="default"), headers=headers)
            assert answer.status_code == 401, (method, path)
            assert answer.json()["errors"][0]["code"] == 12005
    for path in OPEN:
        assert client.get(path).status_code == 200


def test_a_stranger_finds_nothing_of_others(
    node: RunningNode, repository: Repository, client: httpx.Client
) -> None:
    worker = create_worker(
        node.server, "app", build="true", deploy="", root="/", branch="main", previews=False
    )
    node.push(repository, "app")
    build = latest_build(node.server)
    add_stranger(node.data_dir)
    client.headers["Authorization"] = f"Bearer {STRANGER}"
    values = {
        "worker": worker["id"],
        "uuid": worker["triggers"][0]["trigger_uuid"],
        "build_uuid": build["build_uuid"],
        "version_id": "1",
    }
    before = node.server.get(f"/builds/builds/{build['build_uuid']}")
    for method, path in ROUTES:
        if "{" not in path.removeprefix(ACCOUNT):
            continue
        foreign = client.request(method, fill(path, account="default", **values), json={})
        own = client.request(method, fill(path, account="stranger", **values), json={})
        assert foreign.status_code == 404, (method, path)
        assert own.status_code in {400, 404}, (method, path, own.text)
    for path in ("/builds", "/workers/workers", "/tokens", "/builds/tokens", "/builds/queue"):
        answer = client.get(fill(ACCOUNT, account="stranger") + path).json()["result"]
        assert [item["name"] for item in answer] == (["x"] if path == "/tokens" else [])
    assert node.server.get(f"/builds/builds/{build['build_uuid']}") == before


def test_a_token_that_may_only_read_changes_nothing(node: RunningNode, client: httpx.Client) -> None:
    token = node.server.post("/tokens", {"name": "reader", "can_write": False})["value"]
    client.headers["Authorization"] = f"Bearer {token}"
    base = "/client/v4/accounts/default"

    assert client.get(f"{base}/workers/workers").status_code == 200
    assert client.post(f"{base}/workers/workers", json={"name": "x"}).status_code == 403
    assert client.delete(f"{base}/tokens/1").status_code == 403


def test_a_revoked_token_is_good_for_nothing(node: RunningNode, client: httpx.Client) -> None:
    made = node.server.post("/tokens", {"name": "short"})
    client.headers["Authorization"] = f"Bearer {made['value']}"
    path = "/client/v4/accounts/default/workers/workers"
    assert client.get(path).status_code == 200

    node.server.delete(f"/tokens/{made['id']}")

    assert client.get(path).status_code == 401


def test_the_token_file_and_the_key_are_for_the_owner_only(node: RunningNode) -> None:
    for name in ("admin.token", "secret.key", "node.json", "runner.sock"):
        assert (node.data_dir / name).stat().st_mode & 0o077 == 0, name


def test_bad_bodies_are_answered_with_what_is_wrong(node: RunningNode, client: httpx.Client) -> None:
    client.headers["Authorization"] = f"Bearer {node.server.token}"
    base = "/client/v4/accounts/default"
    for body, word in (
        (b"", "body"),
        (b"[]", "body"),
        (b'{"name": "Bad Name"}', "name"),
        (b'{"name": "fine", "colour": 1}', "colour"),
        (b'{"name": "$(reboot)"}', "name"),
        (b"\xff\xfe", "body"),
    ):
        answer = client.post(f"{base}/workers/workers", content=body)
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["code"] == 12002
        assert word in answer.json()["errors"][0]["message"]
    assert client.post(f"{base}/workers/workers", content=b"x" * (2 << 20)).status_code == 413
    assert client.get(f"{base}/nowhere").status_code == 404
    assert client.put(f"{base}/workers/workers").status_code == 405


def test_two_workers_cannot_have_one_name(node: RunningNode) -> None:
    node.server.post("/workers/workers", {"name": "app"})
    answer = httpx.post(
        f"{node.server.base}/workers/workers",
        json={"name": "app"},
        headers={"Authorization": f"Bearer {node.server.token}"},
        trust_env=False,
    )

    assert answer.status_code == 409
    assert answer.json()["errors"][0]["code"] == 12049
