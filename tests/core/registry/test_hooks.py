"""Every hook does what it promises: one test for each, named after it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from kedge import AttemptName, BuildEvent, Deployed, LogChunk, Push, PushReceived, Repo, RequestServed
from kedge.config import Settings
from kedge.registry import Registry

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


def test_hook_kedge_register_compute(site: Site, host: FakeHost) -> None:
    """The class that `[compute] use` names is made with its own table."""
    site.install_whole()
    settings = site.settings(compute={"acme": {"speed": "3"}})
    compute: Any = Registry.load(settings).build_compute(settings, host)
    assert (type(compute).__name__, compute.settings.speed, compute.host) == ("AcmeCompute", 3, host)


def test_hook_kedge_register_runtime(site: Site, host: FakeHost) -> None:
    site.install_whole()
    runtime: Any = Registry.load(site.settings()).build_runtime(site.settings(), host)
    assert (type(runtime).__name__, runtime.host) == ("AcmeRuntime", host)


def test_workers_run_where_builds_do_if_nobody_chooses(site: Site, host: FakeHost) -> None:
    site.install_whole()
    settings = site.settings(runtime={"use": None})
    assert type(Registry.load(settings).build_runtime(settings, host)).__name__ == "AcmeRuntime"


def test_workers_run_nowhere_if_nobody_chooses_and_compute_has_no_runtime(site: Site, host: FakeHost) -> None:
    site.install_whole(change="return [AcmeRuntime]", to="return []")
    settings = site.settings(runtime={"use": None})
    assert Registry.load(settings).build_runtime(settings, host) is None


def test_hook_kedge_register_blobs(site: Site, host: FakeHost) -> None:
    site.install_whole()
    blobs = Registry.load(site.settings()).build_blobs(site.settings(), host)
    assert type(blobs).__name__ == "AcmeBlobs"


def test_hook_kedge_register_log_store(site: Site, host: FakeHost) -> None:
    site.install_whole()
    logs = Registry.load(site.settings()).build_log_store(site.settings(), host)
    assert type(logs).__name__ == "AcmeLogs"


def test_hook_kedge_register_forge(site: Site, host: FakeHost) -> None:
    """Several forges may be used at once."""
    site.install_whole()
    site.install_whole("other")
    settings = site.settings(forges={"use": ["other", "acme"]})
    forges = Registry.load(settings).build_forges(settings, host)
    assert {name: type(forge).__name__ for name, forge in forges.items()} == {
        "other": "AcmeForge",
        "acme": "AcmeForge",
    }


def test_hook_kedge_register_placement(site: Site, host: FakeHost) -> None:
    """The chain has the strategies of plugins and Kedge's own, in the order of the settings."""
    site.install_whole()
    settings = site.settings(placement={"chain": ["acme", "capacity"]})
    own: Any = type("Own", (), {"Settings": Settings, "__init__": lambda self, settings, host: None})
    chain = Registry.load(settings).build_placement_chain(settings, host, {"capacity": own})
    assert [type(one).__name__ for one in chain] == ["AcmePlacement", "Own"]


def test_hook_kedge_register_request_placement(site: Site, host: FakeHost) -> None:
    site.install_whole()
    settings = site.settings(requests={"use": "acme"})
    policy = Registry.load(settings).build_request_placement(settings, host)
    assert type(policy).__name__ == "AcmePolicy"
    assert Registry.load(site.settings()).build_request_placement(site.settings(), host) is None


def test_hook_kedge_register_routes(site: Site, host: FakeHost) -> None:
    imports = "from starlette.routing import Route\n"
    registry, _ = site.load(
        f"{imports}@hookimpl\ndef kedge_register_routes(host): return [Route('/x', print)]"
    )
    assert [getattr(route, "path", None) for route in registry.routes(host)] == ["/x"]


def test_hook_kedge_register_commands(site: Site) -> None:
    registry, _ = site.load("@hookimpl\ndef kedge_register_commands(): return [('greet', print)]")
    assert registry.commands() == [("greet", print)]


def test_hook_kedge_register_log_processors(site: Site) -> None:
    registry, _ = site.load("@hookimpl\ndef kedge_register_log_processors(): return [print]")
    assert registry.log_processors() == [print]


async def test_hook_kedge_startup(site: Site, host: FakeHost) -> None:
    registry, plugin = site.load("@hookimpl\ndef kedge_startup(host): calls.append(host)")
    await registry.startup(host)
    assert plugin.calls == [host]


async def test_hook_kedge_push_received(site: Site) -> None:
    registry, plugin = site.load("@hookimpl\ndef kedge_push_received(event): calls.append(event)")
    repo = Repo(forge="git", owner="default", name="hello")
    push = Push(repo=repo, branch="main", commit_hash="c", trusted=True)
    await registry.push_received(event := PushReceived(push=push, build_uuids=("b",)))
    assert plugin.calls == [event]


async def test_hook_kedge_build_queued(site: Site) -> None:
    registry, plugin = site.load("@hookimpl\ndef kedge_build_queued(build): calls.append(build)")
    await registry.build_queued(BUILD)
    assert plugin.calls == [BUILD]


async def test_hook_kedge_before_build(site: Site) -> None:
    registry, plugin = site.load("@hookimpl\nasync def kedge_before_build(build): calls.append(build)")
    await registry.before_build(BUILD)
    assert plugin.calls == [BUILD]


async def test_hook_kedge_build_started(site: Site) -> None:
    registry, plugin = site.load("@hookimpl\ndef kedge_build_started(build): calls.append(build)")
    await registry.build_started(BUILD)
    assert plugin.calls == [BUILD]


async def test_hook_kedge_build_log(site: Site) -> None:
    """A hook may take fewer arguments than there are."""
    registry, plugin = site.load("@hookimpl\ndef kedge_build_log(chunk): calls.append(chunk)")
    chunk = LogChunk(number=0, offset=0, time_ms=0, data=b"hi\n")
    await registry.build_log(AttemptName(build_uuid="b", number=1), chunk)
    assert plugin.calls == [chunk]


async def test_hook_kedge_build_stopped(site: Site) -> None:
    registry, plugin = site.load("@hookimpl\ndef kedge_build_stopped(build): calls.append(build)")
    await registry.build_stopped(BUILD)
    assert plugin.calls == [BUILD]


async def test_hook_kedge_build_error(site: Site) -> None:
    code = "@hookimpl\ndef kedge_build_error(build, error): calls.append((build, error))"
    registry, plugin = site.load(code)
    await registry.build_error(BUILD, error := RuntimeError("disk full"))
    assert plugin.calls == [(BUILD, error)]


async def test_hook_kedge_worker_deployed(site: Site) -> None:
    registry, plugin = site.load("@hookimpl\ndef kedge_worker_deployed(deployed): calls.append(deployed)")
    deployed = Deployed(
        account="default", worker="hello", version_id="v", url="u", alias=None, build_uuid=None
    )
    await registry.worker_deployed(deployed)
    assert plugin.calls == [deployed]


async def test_hook_kedge_request_served(site: Site) -> None:
    registry, plugin = site.load("@hookimpl\ndef kedge_request_served(request): calls.append(request)")
    request = RequestServed(
        account="default",
        worker="hello",
        version_id="v",
        method="GET",
        path="/",
        status=200,
        duration_ms=1.0,
        bytes_sent=5,
    )
    await registry.request_served(request)
    assert plugin.calls == [request]


async def test_hook_kedge_shutdown(site: Site, host: FakeHost) -> None:
    registry, plugin = site.load("@hookimpl\ndef kedge_shutdown(host): calls.append(host)")
    await registry.shutdown(host)
    assert plugin.calls == [host]
