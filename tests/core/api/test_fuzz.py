"""Whatever anybody sends to whatever route, Kedge has an answer to it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_from_bytes

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tests.core.api.routes import BODIES, Call, every_call, make_objects

if TYPE_CHECKING:
    import httpx
    from tests.core.api.conftest import Caller, World

many = settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
CALLS = list(every_call())
WITH_BODY = [call for call in CALLS if BODIES.get((call.method, call.template)) is not None]
QUERY = (
    *("page", "per_page", "worker", "branch", "status", "version_ids", "external_script_ids"),
    *("cursor", "tail", "attempt", "format"),
)

#: what breaks naive code: long, empty, odd, nearly right
awkward = st.sampled_from(
    ["", " ", "\0", "\n", "..", "*", "é" * 300, "x" * 6000, "-x", "$(id)", "%00", "1e999", "null", "\u2028"]
)
numbers = st.integers() | st.floats(allow_nan=False) | st.sampled_from([2**63, -(2**63) - 1, 10**400])
scalars = st.none() | st.booleans() | numbers | st.text() | awkward
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
)


async def objects_of(world: World, me: Caller) -> dict[str, str]:
    """The same objects for every example of a test."""
    known: dict[str, str] = world.__dict__.setdefault("objects", {})
    if not known:
        known.update(await make_objects(world, me, "hello"))
    return known


def check(response: httpx.Response) -> None:
    """An answer, in the envelope, that is no fault of Kedge."""
    assert response.status_code < 500, response.text
    if response.headers["content-type"] == "application/json":
        envelope = response.json()
        assert envelope["success"] == (response.status_code == 200)
        assert bool(envelope["errors"]) == (response.status_code != 200)
        assert all(error["message"] for error in envelope["errors"])


@many
@given(call=st.sampled_from(WITH_BODY), body=values)
async def test_any_json_is_answered(world: World, me: Caller, call: Call, body: Any) -> None:
    method, path, _ = call.filled(await objects_of(world, me))

    check(await me.call(method, path, content=json.dumps(body)))


@many
@given(call=st.sampled_from(WITH_BODY), data=st.data())
async def test_a_good_body_gone_wrong_in_one_place_is_answered(
    world: World, me: Caller, call: Call, data: st.DataObject
) -> None:
    method, path, body = call.filled(await objects_of(world, me))
    changed = json.loads(json.dumps(body))
    key = data.draw(st.sampled_from(sorted(changed)) | st.text())
    changed[key] = data.draw(values)
    if "name" in changed and call.method == "PATCH":
        changed["name"] = "hello"

    check(await me.call(method, path, content=json.dumps(changed)))


@many
@given(call=st.sampled_from(WITH_BODY), body=st.binary(max_size=200))
async def test_any_bytes_are_answered(world: World, me: Caller, call: Call, body: bytes) -> None:
    method, path, _ = call.filled(await objects_of(world, me))

    check(await me.call(method, path, content=body))


@many
@given(call=st.sampled_from(CALLS), data=st.data())
async def test_any_name_of_an_object_is_answered(
    world: World, me: Caller, call: Call, data: st.DataObject
) -> None:
    objects = await objects_of(world, me)
    assume(call.objects)
    kind = data.draw(st.sampled_from(sorted(call.objects)))
    raw = data.draw(st.binary(min_size=1, max_size=40) | st.text(min_size=1).map(str.encode))
    named = quote_from_bytes(raw, safe="")
    # these two a client resolves before it calls
    assume(named not in {".", ".."})
    method, path, body = call.filled({**objects, kind: named})
    response = await me.call(method, path, body)

    check(response)
    if f"{{{kind}}}" in call.path:
        assert response.status_code != 200


@many
@given(
    path=st.sampled_from(
        [
            "/builds",
            "/builds/queue",
            "/builds/workers/hello/builds",
            "/builds/builds",
            "/builds/builds/latest",
            "/builds/builds/{build_uuid}/logs",
            "/workers/workers/hello/versions",
        ]
    ),
    names=st.lists(st.sampled_from(QUERY), max_size=3),
    raw=st.binary(max_size=30) | awkward.map(str.encode) | st.integers().map(lambda n: str(n).encode()),
)
async def test_any_query_is_answered(
    world: World, me: Caller, path: str, names: list[str], raw: bytes
) -> None:
    objects = await objects_of(world, me)
    query = "&".join(f"{name}={quote_from_bytes(raw)}" for name in names)

    check(await me.call("GET", f"{path.format(**objects)}?{query}"))
