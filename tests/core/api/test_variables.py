"""Build variables and secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlmodel import select

from kedge.db.tables import TriggerVariable

if TYPE_CHECKING:
    from sqlmodel import Session
    from tests.core.api.conftest import Caller, World

SECRET = "correct horse battery staple"


@pytest.fixture
async def path(me: Caller) -> str:
    return f"/builds/triggers/{(await me.make_project()).trigger}/environment_variables"


@pytest.mark.parametrize(
    "body",
    [
        {"PLAIN": {"value": "1"}, "SECRET": {"value": SECRET, "is_secret": True}},
        {
            "variables": [
                {"key": "PLAIN", "value": "1", "type": "text"},
                {"key": "SECRET", "value": SECRET, "type": "secret"},
            ]
        },
    ],
    ids=["by name", "as a list"],
)
async def test_both_documented_shapes_set_variables(me: Caller, path: str, body: dict[str, Any]) -> None:
    stored = await me.result("PATCH", path, body)

    assert stored == await me.result("GET", path)
    assert {key: (one["is_secret"], one["value"]) for key, one in stored.items()} == {
        "PLAIN": (False, "1"),
        "SECRET": (True, None),
    }
    assert stored["PLAIN"]["created_on"].endswith("Z")


@pytest.mark.parametrize(
    "body",
    [
        {"SECRET": {"value": "", "is_secret": True}},
        {"variables": [{"key": "SECRET", "value": "", "type": "secret"}]},
    ],
    ids=["by name", "as a list"],
)
async def test_a_variable_may_be_empty_and_a_secret_may_not(
    me: Caller, path: str, body: dict[str, Any]
) -> None:
    status, _, message = await me.refusal("PATCH", path, body)

    assert (status, "a secret must not be empty" in message) == (400, True)
    assert await me.result("GET", path) == {}
    assert (await me.result("PATCH", path, {"PLAIN": {"value": ""}}))["PLAIN"]["value"] == ""


@pytest.mark.parametrize("name", ["PORT", "HOST", "KEDGE_WORKER", "KEDGE_VERSION", "KEDGE_LOCATION"])
async def test_what_kedge_sets_for_instances_is_set_by_nobody_else(me: Caller, name: str) -> None:
    await me.make_project()
    upload = {"kind": "command", "files": {}, "run": {"entry": ["x"], "variables": {name: "1"}}}
    refused = [
        await me.refusal("PUT", "/workers/workers/hello/secrets", {"name": name, "text": "1"}),
        await me.refusal("POST", "/workers/workers/hello/versions/uploads", upload),
    ]

    for status, _, message in refused:
        assert status == 400
        assert message.endswith(
            f"{name} is set by Kedge for every instance, and no other value could reach one"
        )
    assert await me.result("GET", "/workers/workers/hello/secrets") == []


async def test_an_instance_is_given_no_empty_secret(me: Caller) -> None:
    await me.make_project()
    refused = await me.refusal("PUT", "/workers/workers/hello/secrets", {"name": "KEY", "text": ""})

    assert refused == (400, 12002, "text: a secret must not be empty; to do without it, remove it")


async def test_a_variable_may_be_called_variables(me: Caller, path: str) -> None:
    stored = await me.result("PATCH", path, {"variables": {"value": "1"}})

    assert stored["variables"]["value"] == "1"


async def test_a_secret_goes_in_and_never_comes_out(world: World, me: Caller, path: str) -> None:
    answers = [
        await me.call("PATCH", path, {"SECRET": {"value": SECRET, "is_secret": True}}),
        await me.call("GET", path),
        await me.call("POST", f"{path}/compare", {"SECRET": SECRET}),
    ]

    assert all(SECRET not in answer.text for answer in answers)
    [row] = await world.db.read(_rows)
    assert SECRET.encode() not in row.value
    assert world.parts.builds.secrets.decrypt(row.value) == SECRET


async def test_a_runner_is_told_the_values(world: World, me: Caller) -> None:
    project = await me.make_project()
    body = {"PLAIN": {"value": "1"}, "SECRET": {"value": SECRET, "is_secret": True}}
    await me.result("PATCH", f"/builds/triggers/{project.trigger}/environment_variables", body)
    build = await world.build(me, project)
    headers = {"Authorization": f"Bearer {await world.started(build)}"}
    job = (await world.client.get(f"/api/builds/{build}/job", headers=headers)).json()["result"]

    assert job["variables"] == {"PLAIN": "1", "SECRET": SECRET}
    assert job["secrets"] == [SECRET]
    shown = await me.call("GET", f"/builds/builds/{build}")
    assert SECRET not in shown.text
    assert set(shown.json()["result"]["build_trigger_metadata"]["environment_variables"]) == set(body)


async def test_a_tool_can_ask_whether_it_holds_the_same_secret(me: Caller, path: str) -> None:
    await me.result("PATCH", path, {"SECRET": {"value": SECRET, "is_secret": True}})
    asked = {"SECRET": SECRET, "OTHER": SECRET}

    assert await me.result("POST", f"{path}/compare", asked) == {"SECRET": True, "OTHER": False}
    assert await me.result("POST", f"{path}/compare", {"SECRET": "wrong"}) == {"SECRET": False}


async def test_a_change_replaces_what_it_names_and_a_removal_removes(me: Caller, path: str) -> None:
    await me.result("PATCH", path, {"A": {"value": "1"}, "B": {"value": "2"}})
    stored = await me.result("PATCH", path, {"A": {"value": "3", "is_secret": True}})

    assert (stored["A"]["is_secret"], stored["A"]["value"], stored["B"]["value"]) == (True, None, "2")
    assert await me.result("DELETE", f"{path}/A") is None
    assert list(await me.result("GET", path)) == ["B"]
    assert (await me.refusal("DELETE", f"{path}/A"))[0] == 404


async def test_a_trigger_has_at_most_64_variables(me: Caller, path: str) -> None:
    await me.result("PATCH", path, {f"V{number}": {"value": ""} for number in range(64)})

    assert (await me.refusal("PATCH", path, {"ONE_MORE": {"value": ""}}))[:2] == (400, 12002)
    assert len(await me.result("PATCH", path, {"V0": {"value": "again"}})) == 64


async def test_a_value_has_at_most_five_kilobytes(me: Caller, path: str) -> None:
    await me.result("PATCH", path, {"A": {"value": "x" * 5120}})
    for value in ("x" * 5121, "é" * 2561, "a\x00b"):
        status, _, message = await me.refusal("PATCH", path, {"A": {"value": value}})
        assert status == 400
        assert "5120 bytes" in message
        assert "A.value" in message


@pytest.mark.parametrize(
    "body",
    [
        [],
        "text",
        {"1A": {"value": ""}},
        {"A-B": {"value": ""}},
        {"A\n": {"value": ""}},
        {"A": "1"},
        {"A": {"value": None}},
        {"A": {"value": "1", "typ": "secret"}},
        {"variables": [{"key": "A"}]},
        {"variables": [{"key": "A", "value": "1", "type": "hidden"}]},
        {"variables": [], "more": 1},
    ],
)
async def test_other_bodies_are_refused(me: Caller, path: str, body: Any) -> None:
    assert (await me.refusal("PATCH", path, body))[:2] == (400, 12002)
    assert await me.result("GET", path) == {}


def _rows(session: Session) -> list[TriggerVariable]:
    return list(session.exec(select(TriggerVariable)))
