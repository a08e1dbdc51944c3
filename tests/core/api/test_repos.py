"""Repo connections."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kedge.contracts.forge import Repo

if TYPE_CHECKING:
    from tests.core.api.conftest import Caller, World

PATH = "/builds/repos/connections"
BODY = {
    "provider_type": "fake",
    "provider_account_id": "default",
    "provider_account_name": "default",
    "repo_id": "site",
    "repo_name": "site",
}


async def test_connecting_makes_a_hosted_repository(world: World, me: Caller) -> None:
    made = await me.result("PUT", PATH, BODY)

    assert {name: made[name] for name in BODY} == BODY
    assert made["kedge"]["url"] == "http://kedge.test/fake/default/site.git"
    assert Repo(forge="fake", owner="default", name="site") in world.forge.repos


async def test_connecting_again_gives_the_same_connection(me: Caller) -> None:
    first = await me.result("PUT", PATH, BODY)
    again = await me.result("PUT", PATH, {"provider_type": "fake", "repo_id": "site"})
    by_id = await me.result("PUT", PATH, {**BODY, "provider_account_id": me.account_id})

    uuids = {one["repo_connection_uuid"] for one in (first, again, by_id)}
    assert len(uuids) == 1


async def test_a_removed_connection_comes_back_as_it_was(me: Caller) -> None:
    uuid = (await me.result("PUT", PATH, BODY))["repo_connection_uuid"]
    assert await me.result("DELETE", f"{PATH}/{uuid}") is None
    assert (await me.refusal("DELETE", f"{PATH}/{uuid}"))[0] == 404

    again = await me.result("PUT", PATH, BODY)
    assert (again["repo_connection_uuid"], again["deleted_on"]) == (uuid, None)


async def test_nobody_gets_a_hosted_repository_under_a_foreign_name(
    world: World, me: Caller, stranger: Caller
) -> None:
    status, code, message = await me.refusal("PUT", PATH, {**BODY, "provider_account_id": "stranger"})

    assert (status, code) == (400, 12002)
    assert "belong to default" in message
    assert world.forge.repos == {}


@pytest.mark.parametrize("change", [{"provider_type": "nowhere"}, {"repo_id": ""}, {"repo_id": "a\nb"}])
async def test_what_cannot_be_connected_is_refused(me: Caller, change: dict[str, str]) -> None:
    assert (await me.refusal("PUT", PATH, {**BODY, **change}))[:2] == (400, 12002)


async def test_a_forge_that_is_not_configured_is_answered_with_those_that_are(me: Caller) -> None:
    message = (await me.refusal("PUT", PATH, {**BODY, "provider_type": "nowhere"}))[2]

    assert message == "provider_type: there is no forge 'nowhere'; there is: fake"
