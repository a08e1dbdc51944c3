"""What goes wrong comes in the envelope, says what to do, and shows nothing of the inside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from kedge.errors import KedgeError, RateLimited, StoreUnavailable

if TYPE_CHECKING:
    from tests.core.api.conftest import Caller, World


@pytest.mark.parametrize("path", ["/", "/no/such", "/client/v4", "/client/v4/accounts", "/api/builds/x/none"])
async def test_an_unknown_address_is_answered_in_the_envelope(world: World, path: str) -> None:
    response = await world.client.get(path)

    assert response.status_code == 404
    envelope = response.json()
    assert set(envelope) == {"success", "errors", "messages", "result"}
    assert envelope["success"] is False
    assert envelope["errors"] == [{"code": 12000, "message": "there is nothing at this address"}]


@pytest.mark.parametrize("path", ["/healthz/", "/client/v4/accounts/default/tokens/", "/api/builds/x/job/"])
async def test_no_address_redirects_to_another(world: World, me: Caller, path: str) -> None:
    response = await world.client.get(path, headers={"Authorization": f"Bearer {me.token}"})

    assert response.status_code == 404


async def test_a_wrong_method_is_answered_with_those_that_there_are(me: Caller, world: World) -> None:
    inside = await me.call("PUT", "/workers/workers")
    outside = await world.client.post("/healthz")

    for response in (inside, outside):
        assert response.status_code == 405
        assert "GET" in response.headers["allow"]
        assert response.json()["success"] is False


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b'{"name": "a"', b'{"\\ud800": 1}', b"[" * 100_000])
async def test_a_body_that_is_no_json_is_refused(me: Caller, body: bytes) -> None:
    status, code, message = await me.refusal("POST", "/workers/workers", content=body)

    assert (status, code) == (400, 12002)
    assert message.startswith("body: Invalid JSON")


async def test_every_mistake_of_a_body_is_told_with_its_place(me: Caller) -> None:
    response = await me.call("POST", "/builds/triggers", {"branch_includes": [1], "colour": "red"})
    messages = [error["message"] for error in response.json()["errors"]]

    assert "external_script_id: is missing" in messages
    assert "colour: there is no such field" in messages
    assert any(message.startswith("branch_includes.0: ") for message in messages)
    assert all(error["code"] == 12002 for error in response.json()["errors"])


@pytest.mark.parametrize(
    ("method", "path", "body", "said"),
    [
        ("POST", "/tokens", {"name": "n" * 256}, "name: must have at most 255 characters"),
        ("POST", "/tokens", {"name": ""}, "name: must have at least 1 character"),
        ("POST", "/tokens", {"name": 1}, "name: must be a text"),
        ("POST", "/tokens", [], "body: must be an object"),
        (
            "POST",
            f"/builds/triggers/{UUID(int=0)}/builds",
            {"commit_hash": "HEAD"},
            "commit_hash: must be the hash of a commit, or 7 or more of its first characters: 0-9 and a-f",
        ),
        (
            "PUT",
            "/workers/workers/hello/secrets",
            {"name": "A B", "text": "x"},
            "name: must be 1 to 128 letters, digits and _, and begin with no digit",
        ),
        (
            "POST",
            "/builds/workers/hello/deploy_hooks",
            {"deploy_hook_name": "n" * 59, "branch": "main"},
            "deploy_hook_name: must have at most 58 characters",
        ),
        (
            "POST",
            "/workers/workers/hello/versions/uploads",
            {"kind": "command", "files": {}, "run": {"concurrency": 0}},
            "run.concurrency: must be at least 1",
        ),
        (
            "POST",
            "/workers/workers/hello/versions/uploads",
            {"kind": "asgi", "files": {}, "run": {"variables": {"A-B": "1"}}},
            "run.variables.A-B: must be 1 to 128 letters, digits and _, and begin with no digit",
        ),
        (
            "POST",
            "/workers/workers/hello/versions/uploads",
            {"kind": "other", "files": {}},
            'kind: must be one of "static", "asgi", "command" or "image"',
        ),
    ],
)
async def test_a_mistake_is_told_in_words_that_need_no_knowledge_of_how_it_was_found(
    me: Caller, method: str, path: str, body: Any, said: str
) -> None:
    assert await me.refusal(method, path, body) == (400, 12002, said)


async def test_a_flood_of_mistakes_is_answered_with_few_words(me: Caller) -> None:
    body = {"name": "a", **{f"{number}{'x' * 1000}": 1 for number in range(900)}}
    response = await me.call("POST", "/workers/workers", body)

    assert response.status_code == 400
    assert len(response.content) < 10_000


async def test_a_body_that_is_too_large_is_refused(me: Caller) -> None:
    status, code, _ = await me.refusal("POST", "/workers/workers", content=b" " * (1024 * 1024 + 1))

    assert (status, code) == (413, 12064)
    assert (await me.refusal("POST", "/workers/workers", content=b" " * 1024 * 1024))[0] == 400


async def test_a_fault_of_kedge_is_logged_and_not_shown(world: World, me: Caller) -> None:
    for error in (ValueError("a detail of the inside"), KedgeError("another detail")):
        world.forge.failures.append(error)
        project = await me.make_project(f"w{len(await me.result('GET', '/workers/workers'))}")
        response = await me.call("POST", f"/builds/triggers/{project.trigger}/builds", {"branch": "main"})

        assert response.status_code == 500
        assert response.json()["errors"][0]["code"] == 10000
        assert "detail" not in response.text


async def test_who_is_too_fast_is_told_when_to_come_back(world: World, me: Caller) -> None:
    project = await me.make_project()
    world.forge.failures.append(RateLimited("the forge wants a pause"))
    response = await me.call("POST", f"/builds/triggers/{project.trigger}/builds", {"branch": "main"})

    assert response.status_code == 429
    assert response.json()["errors"][0]["code"] == 12051
    assert int(response.headers["retry-after"]) > 0


async def test_every_answer_names_its_request(world: World, me: Caller) -> None:
    given = await me.call("GET", "/tokens", headers={"X-Request-Id": "my-request-1"})
    unknown = await world.client.get("/no/such")

    assert given.headers["x-request-id"] == "my-request-1"
    assert unknown.headers["x-request-id"]


async def test_health_is_told_to_anybody(world: World) -> None:
    assert (await world.client.get("/healthz")).json() == {"status": "ok"}
    ready = await world.client.get("/readyz")
    assert ready.status_code == 200
    assert ready.json()["status"] == "ready"


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("cannot schedule new futures after shutdown"),
        StoreUnavailable("PostgreSQL does not answer: see that it runs"),
    ],
    ids=["closed", "away"],
)
async def test_a_node_without_its_database_is_not_ready(
    world: World, monkeypatch: Any, error: Exception
) -> None:
    async def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(world.db, "read", fail)
    ready = await world.client.get("/readyz")

    assert ready.status_code == 503
    assert ready.json() == {"status": "the database does not answer"}
