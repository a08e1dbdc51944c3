"""API tokens and build tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlmodel import select

from kedge.db.tables import ApiToken, BuildToken

if TYPE_CHECKING:
    from sqlmodel import Session
    from tests.core.api.conftest import Caller, World


async def test_a_token_is_shown_once_and_kept_as_its_hash(world: World, me: Caller) -> None:
    made = await me.result("POST", "/tokens", {"name": "laptop"})
    value = made.pop("value")

    assert made in await me.result("GET", "/tokens")
    assert value not in (await me.call("GET", "/tokens")).text
    assert value not in str(await world.db.read(lambda session: list(session.exec(select(ApiToken)))))
    me.token = value
    assert await me.result("GET", "/workers/workers") == []


async def test_a_revoked_token_is_refused_at_once(world: World, me: Caller) -> None:
    made = await me.result("POST", "/tokens", {"name": "laptop"})
    laptop = type(me)(world.client, me.account, me.account_id, made["value"])
    await laptop.result("GET", "/tokens")
    await me.result("DELETE", f"/tokens/{made['id']}")

    assert (await laptop.refusal("GET", "/tokens"))[:2] == (401, 12005)
    [shown] = [one for one in await me.result("GET", "/tokens") if one["id"] == made["id"]]
    assert shown["revoked_on"]


async def test_a_token_may_be_made_for_reading_only(world: World, me: Caller) -> None:
    made = await me.result("POST", "/tokens", {"name": "dashboard", "can_write": False})
    reader = type(me)(world.client, me.account, me.account_id, made["value"])

    assert await reader.result("GET", "/workers/workers") == []
    assert (await reader.refusal("POST", "/tokens", {"name": "more"}))[:2] == (403, 12006)


async def test_the_secret_of_a_build_token_is_kept_encrypted_and_never_shown(
    world: World, me: Caller
) -> None:
    body = {"build_token_name": "cf", "build_token_secret": "very secret", "cloudflare_token_id": "abc"}
    made = await me.result("POST", "/builds/tokens", body)

    assert made == {
        "build_token_uuid": made["build_token_uuid"],
        "build_token_name": "cf",
        "cloudflare_token_id": "abc",
        "owner_type": "user",
    }
    assert await me.result("GET", "/builds/tokens") == [made]
    [row] = await world.db.read(_build_tokens)
    assert row.secret is not None
    assert b"very secret" not in row.secret
    assert world.parts.builds.secrets.decrypt(row.secret) == "very secret"


async def test_a_removed_build_token_is_taken_from_its_triggers(me: Caller) -> None:
    body = {"build_token_name": "cf", "build_token_secret": "s"}
    uuid = (await me.result("POST", "/builds/tokens", body))["build_token_uuid"]
    await me.make_project(build_token_uuid=uuid)
    await me.result("DELETE", f"/builds/tokens/{uuid}")

    assert await me.result("GET", "/builds/tokens") == []
    [trigger] = await me.result("GET", "/builds/workers/hello/triggers")
    assert trigger["build_token_uuid"] is None


def _build_tokens(session: Session) -> list[BuildToken]:
    return list(session.exec(select(BuildToken)))
