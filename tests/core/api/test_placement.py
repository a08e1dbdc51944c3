"""Where a worker shall run, as the REST API shows and changes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.core.api.routes import CONTENT, DIGEST, MANIFEST

from kedge.contracts.request_placement import PlacementExplanation, PlacementStatus
from kedge.workers.places.placing import Placing

if TYPE_CHECKING:
    from tests.core.api.conftest import Caller

HELLO = "/workers/workers/hello"
SCRIPT = "/workers/scripts/hello/settings"


async def deploy(me: Caller, manifest: dict[str, Any]) -> None:
    await me.result("POST", "/workers/workers", {"name": "hello"})
    upload = (await me.result("POST", f"{HELLO}/versions/uploads", manifest))["upload_id"]
    await me.call("PUT", f"{HELLO}/versions/uploads/{upload}/files/{DIGEST}", content=CONTENT)
    await me.result("POST", f"{HELLO}/versions/uploads/{upload}/complete", {"deploy": True})


def program(**placement: str) -> dict[str, Any]:
    return {**MANIFEST, "kind": "command", "run": {"entry": ["serve"], "placement": placement}}


async def versions(me: Caller) -> int:
    return len((await me.result("GET", f"{HELLO}/versions"))["items"])


async def test_settings_show_what_the_author_said(me: Caller) -> None:
    await deploy(me, program(region="aws:eu-central-1"))

    targeted = {"mode": "targeted", "region": "aws:eu-central-1"}
    assert await me.result("GET", SCRIPT) == {"placement": targeted}
    assert await me.result("GET", f"{HELLO}/settings") == {"placement": targeted}
    service = await me.result("GET", "/workers/services/hello")
    script = service["default_environment"]["script"]
    assert (script["placement"], script["placement_mode"]) == (targeted, "targeted")
    assert "placement_status" not in script


async def test_a_change_is_a_new_version_that_serves(me: Caller) -> None:
    await deploy(me, program())

    assert await me.result("PATCH", SCRIPT, {"placement": {"mode": "smart"}}) == {
        "placement": {"mode": "smart"}
    }
    assert await versions(me) == 2
    await me.result("PATCH", SCRIPT, {"placement": {"mode": "smart"}})
    await me.result("PATCH", SCRIPT, {})
    assert await versions(me) == 2

    host = {"target": [{"host": "db.test:5432"}]}
    changed = await me.result("PATCH", SCRIPT, {"placement": host})
    assert changed == {"placement": {"mode": "targeted", "host": "db.test:5432"}}
    assert await me.result("PATCH", SCRIPT, {"placement": {"mode": "off"}}) == {"placement": {}}
    assert await versions(me) == 4


async def test_a_change_can_come_as_a_part_of_a_form(me: Caller) -> None:
    await deploy(me, program())
    others = {"other": (None, b"--\r\n{}"), "settings": (None, b'{"placement": {"mode": "smart"}}')}

    assert await me.result("PATCH", SCRIPT, files=others) == {"placement": {"mode": "smart"}}
    assert await versions(me) == 2
    file = {"settings": ("settings.json", b'{"placement": {"mode": "off"}}', "application/json")}
    assert await me.result("PATCH", SCRIPT, files=file) == {"placement": {}}

    assert 'no part "settings"' in (await me.refusal("PATCH", SCRIPT, files={"else": (None, b"{}")}))[2]
    wrong = {"settings": (None, b'{"speed": "fast"}')}
    assert (await me.refusal("PATCH", SCRIPT, files=wrong))[0] == 400
    for boundary in ("", "; boundary=", f"; boundary={'x' * 71}"):
        form = {"Content-Type": f"multipart/form-data{boundary}"}
        refused = await me.refusal("PATCH", SCRIPT, content=b"", headers=form)
        assert "needs a boundary" in refused[2]
    assert await versions(me) == 3


async def test_a_change_can_come_as_fields_of_a_form(me: Caller) -> None:
    await deploy(me, program())

    smart = {"settings[placement][mode]": (None, b"smart")}
    assert await me.result("PATCH", SCRIPT, files=smart) == {"placement": {"mode": "smart"}}
    target = {"settings[placement][target][][host]": (None, b"db.test:5432")}
    targeted = {"mode": "targeted", "host": "db.test:5432"}
    assert await me.result("PATCH", SCRIPT, files=target) == {"placement": targeted}

    for wrong, message in {
        "settings[speed]": "speed",
        "settings[placement": "is no name of a field",
        "settings[placement][mode][x]": "every value",
    }.items():
        refused = await me.refusal("PATCH", SCRIPT, files={wrong: (None, b"smart")})
        assert refused[0] == 400
        assert message in refused[2]
    assert "UTF-8" in (await me.refusal("PATCH", SCRIPT, files={"settings[placement][mode]": b"\xff"}))[2]
    assert await versions(me) == 3


async def test_what_was_read_can_be_sent_back(me: Caller) -> None:
    await deploy(me, program(mode="smart"))
    read = await me.result("GET", SCRIPT)
    read["placement"] |= {"status": "SUCCESS", "last_analyzed_at": "2026-01-01T00:00:00Z"}

    await me.result("PATCH", SCRIPT, read)

    assert await versions(me) == 1


async def test_what_cannot_be_is_refused_and_changes_nothing(me: Caller) -> None:
    await deploy(me, program())

    both = {"placement": {"region": "aws:x", "host": "db.test:5432"}}
    assert await me.refusal("PATCH", SCRIPT, both) == (
        400,
        12002,
        '"placement.region" and "placement.host" are mutually exclusive. Only one can be specified.',
    )
    two = {"placement": {"target": [{"region": "aws:x"}, {"region": "aws:y"}]}}
    assert "list of one object" in (await me.refusal("PATCH", SCRIPT, two))[2]
    assert (await me.refusal("PATCH", SCRIPT, {"speed": "fast"}))[0] == 400
    assert await versions(me) == 1


async def test_files_alone_are_not_placed(me: Caller) -> None:
    await deploy(me, MANIFEST)

    smart = {"placement": {"mode": "smart"}}
    assert "files alone" in (await me.refusal("PATCH", SCRIPT, smart))[2]
    assert await me.result("PATCH", SCRIPT, {"placement": {"mode": "off"}}) == {"placement": {}}


async def test_a_worker_that_does_not_serve_is_deployed_first(me: Caller) -> None:
    await me.result("POST", "/workers/workers", {"name": "hello"})

    assert await me.result("GET", SCRIPT) == {"placement": {}}
    smart = {"placement": {"mode": "smart"}}
    assert "deploy it first" in (await me.refusal("PATCH", SCRIPT, smart))[2]


@pytest.mark.parametrize(
    ("routes", "shown"),
    [
        (["INSUFFICIENT_INVOCATIONS"], "INSUFFICIENT_INVOCATIONS"),
        (["INSUFFICIENT_INVOCATIONS", "SUCCESS"], "SUCCESS"),
        (["UNSUPPORTED_APPLICATION", "INSUFFICIENT_INVOCATIONS"], "UNSUPPORTED_APPLICATION"),
        ([], None),
    ],
)
async def test_a_worker_has_the_status_of_its_routes(
    me: Caller, monkeypatch: pytest.MonkeyPatch, routes: list[str], shown: str | None
) -> None:
    await deploy(me, program(mode="smart"))
    found = [
        PlacementExplanation(
            route=f"/{number}",
            entry="local",
            location="local",
            status=PlacementStatus(status),
            reason="",
            invocations=0,
        )
        for number, status in enumerate(routes)
    ]
    monkeypatch.setattr(Placing, "explain", lambda *_: found)

    script = (await me.result("GET", "/workers/services/hello"))["default_environment"]["script"]
    assert script.get("placement_status") == script["placement"].get("status") == shown
    assert (await me.result("GET", f"{HELLO}/placement"))["placement_status"] == shown


async def test_a_place_without_a_region_is_none_that_a_hint_can_name(me: Caller) -> None:
    assert await me.result("GET", "/workers/placement/regions") == {"providers": []}
