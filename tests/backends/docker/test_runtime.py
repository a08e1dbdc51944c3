"""The runtime `docker` keeps the contract, with walls, and shows no secret."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.core.workers.test_egress import back_end, egress

from kedge import InstanceKind, Limits, StartRefused
from kedge.testing.fake_host import FakeHost
from kedge.testing.runtime import STAND_IN, RuntimeSuite, ask, read_until
from kedge_docker.runtime import OWNER, DockerRuntime
from kedge_docker.runtime_settings import DockerRuntimeSettings
from kedge_docker.way_out import WayOut

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.docker_engine import Engine


class TestDockerRuntime(RuntimeSuite):
    sees_processes = False
    walls = True

    @pytest.fixture
    def make_runtime(self, engine: Engine, tmp_path: Path) -> Iterator[Callable[[], DockerRuntime]]:
        settings = DockerRuntimeSettings.model_validate({"image": engine.image, "memory": "128 MiB"})
        yield lambda: DockerRuntime(settings, FakeHost(tmp_path))
        for container in mine(engine, tmp_path):
            container.remove(v=True, force=True)

    @pytest.fixture
    def running(self, engine: Engine, tmp_path: Path) -> Callable[[], int]:
        return lambda: len(mine(engine, tmp_path))

    async def test_an_image_runs_its_own_program_and_reads_secrets_as_files(
        self, engine: Engine, tmp_path: Path, start: Callable[..., Any]
    ) -> None:
        code = (STAND_IN / "worker.py").read_text()
        instance = await start(
            kind=InstanceKind.IMAGE,
            image=engine.image,
            entry=("python3", "-u", "-c", code),
            files=None,
            variables={"COLOUR": "red"},
            secrets={"KEY": "s3cret"},
        )
        assert await ask(instance, "/read", path="/run/secrets/KEY") == "s3cret"
        environment = await ask(instance, "/environment")
        assert (environment["COLOUR"], environment.get("KEY")) == ("red", None)
        assert "s3cret" not in description(engine, tmp_path)
        await instance.stop(grace=0)
        assert not list((tmp_path / "docker" / "secrets").iterdir())

    async def test_no_description_of_a_container_holds_a_secret(
        self, engine: Engine, tmp_path: Path, start: Callable[..., Any]
    ) -> None:
        instance = await start(secrets={"KEY": "s3cret"}, egress={"HTTPS_PROXY": "http://u:s3cret@p"})
        assert (await ask(instance, "/environment"))["KEY"] == "s3cret"
        assert "s3cret" not in description(engine, tmp_path)

    async def test_an_image_that_the_engine_does_not_have_is_named(
        self, runtime: DockerRuntime, request_factory: Callable[..., Any]
    ) -> None:
        with pytest.raises(StartRefused, match="no image kedge-testing/none-such"):
            await runtime.start(
                request_factory(
                    kind=InstanceKind.IMAGE, image="kedge-testing/none-such", files=None, entry=()
                )
            )

    async def test_what_a_container_may_use_is_limited(
        self, engine: Engine, tmp_path: Path, start: Callable[..., Any]
    ) -> None:
        instance = await start(limits=Limits(memory_bytes=1 << 40))
        [container] = mine(engine, tmp_path)
        limits = container.attrs["HostConfig"]
        assert limits["CapDrop"] == ["ALL"]
        assert limits["ReadonlyRootfs"]
        assert limits["Memory"] == limits["MemorySwap"] == 128 * 1024**2
        assert "no-new-privileges" in limits["SecurityOpt"]
        await instance.stop(grace=0)
        assert not mine(engine, tmp_path)

    async def test_output_is_read_from_its_first_byte(self, start: Callable[..., Any]) -> None:
        instance = await start()
        assert (await read_until(instance, b"listening")).startswith(b"listening")

    async def test_an_instance_asks_others_through_the_proxy_of_the_node_and_nobody_else_does(
        self, engine: Engine, start: Callable[..., Any], runtime: DockerRuntime
    ) -> None:
        async with back_end() as address, egress({"data.test:80": address}) as proxy:
            given = proxy.environment("i1")
            instance = await start(entry=("python3", "-u", "-c", ASKS), egress=given)
            stranger = await start(
                entry=("python3", "-u", "-c", ASKS),
                egress={name: value.replace("i1:", "i1:x") for name, value in given.items()},
            )
            invocation = proxy.ledger.begin("i1")
            assert await ask(instance, "/ask", url="http://data.test/x") == "200 GET /x HTTP/1.1"
            [[call]] = invocation.groups() or []
            assert call.host == "data.test:80"
            assert "403" in await ask(instance, "/ask", url="http://127.0.0.1/")
            assert "407" in await ask(stranger, "/ask", url="http://data.test/x")

            inside = (await ask(instance, "/environment"))["HTTP_PROXY"]
            elsewhere = await asyncio.to_thread(
                engine.client.containers.run,
                engine.image,
                ["-c", ASKS, inside, "http://data.test/x"],
                entrypoint="python3",
                network="bridge",
                remove=True,
            )
            assert b"data.test" not in elsewhere
            assert b"200" not in elsewhere

    async def test_where_no_proxy_can_be_reached_instances_ask_others_themselves(
        self, runtime: DockerRuntime
    ) -> None:
        with pytest.raises(ValueError, match="no bridge"):
            WayOut({"Name": "swarm", "Driver": "overlay"})
        # a bridge of another machine, as of an engine that runs in a virtual one
        runtime._way_out = WayOut({"Driver": "bridge", "IPAM": {"Config": [{"Subnet": "203.0.113.0/24"}]}})
        assert await runtime._lead_out({"HTTP_PROXY": "http://u:p@127.0.0.1:1"}) == {}


#: asks others by the proxy that its environment names; with arguments it does so once
ASKS = """
import json, os, sys, urllib.error, urllib.parse, urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
def found(url):
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return f"{answer.status} {answer.read().decode()}"
    except OSError as error:
        return repr(error)
if len(sys.argv) > 1:
    os.environ["http_proxy"] = sys.argv[1]
    sys.exit(print(found(sys.argv[2])))
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        order, _, query = self.path.partition("?url=")
        said = {"/": "up", "/environment": dict(os.environ)}.get(order)
        body = json.dumps(said or found(urllib.parse.unquote(query))).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Handler).serve_forever()
"""


def mine(engine: Engine, data_dir: Path) -> list[Any]:
    file = data_dir / "docker" / "instances-owner"
    if not file.exists():
        return []
    label = f"{OWNER}={file.read_text().strip()}"
    return list(engine.client.containers.list(all=True, filters={"label": label}))


def description(engine: Engine, data_dir: Path) -> str:
    [container] = mine(engine, data_dir)
    return json.dumps(container.attrs)
