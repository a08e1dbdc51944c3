"""Event hooks tell, and stop nothing."""

from __future__ import annotations

import asyncio
import importlib
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from kedge import BuildEvent
from kedge.registry import Registry, events

if TYPE_CHECKING:
    from tests.core.registry.conftest import Site

    from kedge.testing.fake_host import FakeHost

BUILD = BuildEvent(
    build_uuid="b",
    attempt=1,
    account="default",
    worker="hello",
    branch="main",
    commit_hash="c" * 40,
    status="queued",
    outcome=None,
    created_on=datetime(2026, 1, 1, tzinfo=UTC),
)


def test_whether_anybody_listens_is_known(site: Site) -> None:
    registry, _ = site.load("@hookimpl\ndef kedge_build_log(): ...")
    assert registry.listens("kedge_build_log")
    assert not registry.listens("kedge_build_stopped")


@pytest.mark.parametrize(
    "body",
    [
        "def kedge_build_stopped(build): raise RuntimeError('no')",
        "async def kedge_build_stopped(build): raise RuntimeError('no')",
        "def kedge_build_stopped(build): raise SystemExit(1)",
        "async def kedge_build_stopped(build): import asyncio; raise asyncio.CancelledError",
        "async def kedge_build_stopped(build): import asyncio; await asyncio.Event().wait()",
    ],
)
async def test_an_event_hook_that_fails_is_logged_and_counted_and_stops_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    monkeypatch.setattr(events, "PATIENCE", 0.01)
    site.install_whole()
    site.install("bad", f"@hookimpl\n{body}")
    good = site.install("good", "@hookimpl\ndef kedge_build_stopped(build): calls.append(build)")
    registry = Registry.load(site.settings("bad", "good"))
    with capture_logs() as logs:
        await registry.build_stopped(BUILD)
        await registry.build_stopped(BUILD)
    assert sys.modules[good].calls == [BUILD, BUILD]
    assert registry.failures == {("bad", "kedge_build_stopped"): 2}
    assert [(line["event"], line["plugin"], line["failures"]) for line in logs] == [
        ("event hook failed", "bad", 1),
        ("event hook failed", "bad", 2),
    ]


HANGS = """
import asyncio
called = asyncio.Event()
@hookimpl
async def kedge_startup():
    called.set()
    await asyncio.Event().wait()
"""


async def test_a_caller_that_is_cancelled_stops_waiting_for_a_hook(site: Site, host: FakeHost) -> None:
    registry, plugin = site.load(HANGS)
    task = asyncio.create_task(registry.startup(host))
    await plugin.called.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not registry.failures


async def test_plugins_are_told_in_the_order_in_which_the_settings_name_them(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.install_whole()
    order: list[str] = []
    marks = {"one": "", "two": "", "last": "(trylast=True)", "first": "(tryfirst=True)"}
    for name, mark in marks.items():
        code = f"@hookimpl{mark}\ndef kedge_build_queued(build): calls.append('{name}')"
        module = importlib.import_module(site.install(name, code))
        monkeypatch.setattr(module, "calls", order)
    await Registry.load(site.settings("last", "two", "one", "first")).build_queued(BUILD)
    assert order == ["first", "two", "one", "last"]
