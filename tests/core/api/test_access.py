"""Who may do what. Each test walks over every route there is, so that a new one is checked unasked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlmodel import select
from starlette.routing import Mount, Route
from tests.core.api.routes import Call, every_call, make_objects

from kedge.db import tables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlmodel import Session
    from tests.core.api.conftest import Caller, World

CALLS = list(every_call())
WRITES = [call for call in CALLS if call.method != "GET"]
#: what anybody may ask, and nothing else
OPEN = {"/healthz", "/readyz", "/openapi.json"}
#: wants no token, but a secret in its address
HOOK = "/client/v4/workers/builds/deploy_hooks/{uuid}"
#: what the token of a build may call
OF_BUILDS = "/versions/uploads"


async def test_every_address_of_the_application_wants_a_token(world: World) -> None:
    refused = set()
    for path, methods in _addresses(world.parts.front._app.routes):  # type: ignore[attr-defined]
        for method in methods:
            response = await world.client.request(method, _any(path))
            if path in OPEN:
                assert response.status_code == 200
                continue
            if path == HOOK:
                assert response.status_code == 404
                continue
            assert response.status_code == 401, f"{method} {path}"
            assert response.headers["www-authenticate"] == "Bearer"
            assert method == "HEAD" or response.json()["errors"][0]["code"] == 12005
            refused.add(path)

    assert len(refused) > 30


@pytest.mark.parametrize("call", CALLS, ids=str)
async def test_a_token_that_nobody_gave_out_is_refused(world: World, call: Call) -> None:
    unknown = world.nobody(token="kedge_api_" + "x" * 43)

    assert (await unknown.refusal(*call.filled(_nothing())))[:2] == (401, 12005)


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic dDp0", "Bearer " + "x" * 600, "Bearer \xe4", "x y z"]
)
async def test_a_header_without_a_good_token_is_refused(world: World, header: str) -> None:
    headers = {b"Authorization": header.encode("latin-1")}
    response = await world.client.get("/client/v4/accounts/default/tokens", headers=headers)

    assert response.status_code == 401


async def test_an_unknown_address_tells_a_nameless_caller_nothing(world: World) -> None:
    response = await world.client.get("/client/v4/accounts/default/no/such/route")

    assert response.status_code == 401


async def test_the_account_is_named_by_its_name_or_its_id(me: Caller) -> None:
    by_name = await me.result("GET", "/tokens")
    me.account = me.account_id

    assert await me.result("GET", "/tokens") == by_name


async def test_no_call_reaches_into_a_foreign_account(world: World, me: Caller, stranger: Caller) -> None:
    theirs = await make_objects(world, stranger, "theirs")
    before = await world.db.read(_everything)
    for account in (stranger.account, stranger.account_id, "no-such-account", "default/", "%2e%2e"):
        me.account = account
        for call in CALLS:
            assert (await me.refusal(*call.filled(theirs)))[0] == 404, str(call)

    assert await world.db.read(_everything) == before


async def test_no_call_reaches_a_foreign_object(world: World, me: Caller, stranger: Caller) -> None:
    """Each route, with each of the objects it names replaced by a stranger's."""
    mine = await make_objects(world, me, "mine")
    theirs = await make_objects(world, stranger, "theirs")
    before = await world.db.read(_everything)
    tried = 0
    for call in CALLS:
        for kind in call.objects:
            for foreign in {theirs[kind], theirs["tag"] if kind == "worker" else theirs[kind]}:
                filled = call.filled({**mine, kind: foreign})
                assert (await me.refusal(*filled))[0] == 404, f"{call} with a foreign {kind}"
                tried += 1

    assert await world.db.read(_everything) == before
    assert tried > 40


async def test_a_foreign_object_looks_like_one_that_never_was(
    world: World, me: Caller, stranger: Caller
) -> None:
    theirs = await make_objects(world, stranger, "theirs")
    for call in CALLS:
        for kind in call.objects:
            path = "x".join(call.filled({**_nothing(), kind: theirs[kind]})[1].split(theirs[kind]))
            method, foreign, body = call.filled({**_nothing(), kind: theirs[kind]})
            seen = await me.refusal(method, foreign, body)
            unknown = await me.refusal(method, path, body)
            assert seen[:2] == unknown[:2]


async def test_lists_show_nothing_foreign(world: World, me: Caller, stranger: Caller) -> None:
    theirs = await make_objects(world, stranger, "theirs")
    lists = [call for call in CALLS if call.method == "GET" and not call.objects]
    for call in lists:
        query = f"?version_ids={theirs['version_id']}&external_script_ids={theirs['tag']}"
        text = (await me.call("GET", call.template + query)).text
        for kind in ("tag", "connection", "trigger", "build_uuid", "build_token", "id"):
            assert theirs[kind] not in text

    assert (await me.refusal("GET", f"/builds?worker={theirs['worker']}"))[0] == 404


async def test_a_token_that_may_only_read_changes_nothing(world: World, me: Caller) -> None:
    mine = await make_objects(world, me, "mine")
    reader = await world.caller("default", can_write=False)
    before = await world.db.read(_everything)
    for call in WRITES:
        assert (await reader.refusal(*call.filled(mine)))[:2] == (403, 12006), str(call)

    assert await world.db.read(_everything) == before
    assert await reader.result("GET", "/workers/workers/mine")


async def test_the_token_of_a_build_uploads_for_its_own_worker_and_does_nothing_else(
    world: World, me: Caller
) -> None:
    mine = await make_objects(world, me, "mine")
    other = await make_objects(world, me, "other")
    builder = await _builder(world, me, mine["build_uuid"])
    before = await world.db.read(_everything)
    for call in CALLS:
        may = OF_BUILDS in call.template
        status, _, _ = await builder.refusal(*call.filled(other if may else mine))
        assert status in ({403, 404} if may else {403}), str(call)
    assert await world.db.read(_everything) == before

    uploads = [call for call in CALLS if OF_BUILDS in call.template]
    assert len(uploads) == 3
    assert await builder.result(*uploads[0].filled(mine))


async def test_the_token_of_a_build_is_good_only_while_its_attempt_lasts(world: World, me: Caller) -> None:
    mine = await make_objects(world, me, "mine")
    builder = await _builder(world, me, mine["build_uuid"])
    await me.result("PUT", f"/builds/builds/{mine['build_uuid']}/cancel")
    world.parts.host.access.forget()

    assert (await builder.refusal("GET", "/workers/workers"))[:2] == (401, 12005)


@pytest.mark.parametrize(
    "path",
    ["/workers/workers/x/versions/uploads%3F/../..", "/tokens%3F/versions/uploads", "/tokens#/uploads"],
)
async def test_no_trick_with_the_address_widens_what_a_build_may_do(
    world: World, me: Caller, path: str
) -> None:
    mine = await make_objects(world, me, "mine")
    builder = await _builder(world, me, mine["build_uuid"])

    assert (await builder.call("GET", path)).status_code in {403, 404, 405}


async def test_the_token_of_a_runner_is_no_token_of_the_api(world: World, me: Caller) -> None:
    mine = await make_objects(world, me, "mine")
    runner = world.nobody(token=await world.started(mine["build_uuid"]))

    assert (await runner.refusal("GET", "/workers/workers"))[:2] == (401, 12005)


@pytest.mark.parametrize("path", ["/workers/workers/a%00b", "/builds?worker=%00", "/builds/builds/%00/logs"])
async def test_a_nul_character_is_refused_before_it_reaches_the_database(me: Caller, path: str) -> None:
    assert (await me.refusal("GET", path))[:2] == (400, 12002)


async def _builder(world: World, owner: Caller, build_uuid: str) -> Caller:
    """The deploy token of a build's attempt."""
    token = await world.started(build_uuid)
    response = await world.client.get(
        f"/api/builds/{build_uuid}/job", headers={"Authorization": f"Bearer {token}"}
    )
    deploy = response.json()["result"]["deploy"]["token"]
    return type(owner)(world.client, owner.account, owner.account_id, deploy)


def _addresses(routes: list[Any], prefix: str = "") -> Iterator[tuple[str, list[str]]]:
    for route in routes:
        if isinstance(route, Mount):
            yield from _addresses(list(route.routes), prefix + route.path)
        else:
            assert isinstance(route, Route), f"{route} is of a kind that this test does not know"
            yield prefix + route.path, sorted(route.methods or ())


def _any(path: str) -> str:
    return path.replace("{number:count}", "0").replace("{", "").replace("}", "")


def _nothing() -> dict[str, str]:
    """An object of every kind that does not exist."""
    kinds = {kind for call in CALLS for kind in call.objects} | {"key", "sha256"}
    return {**dict.fromkeys(kinds, "nothing"), "sha256": "0" * 64}


def _everything(session: Session) -> dict[str, list[Any]]:
    """Every row there is, but for what schedulers and nodes keep for themselves."""
    kept = (getattr(tables, name) for name in tables.__all__ if not name.startswith(("Object", "Node")))
    return {table.__name__: [row.model_dump() for row in session.exec(select(table))] for table in kept}
