"""Builds run at the location that suits them, whichever node they are pushed to."""

from __future__ import annotations

import ssl
import threading
import time
from contextlib import contextmanager, suppress
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import TYPE_CHECKING, Any

from kedge.cli.placement_demo.certificate import make_certificate
from kedge.cli.workers import create_worker
from kedge.testing.cluster import Cluster
from kedge.testing.node import latest_build, wait_for_end, wait_for_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kedge.testing.node import Repository, RunningNode

PLACES = """
[placement]
chain = ["fairness", "load", "cache", "capacity"]
[placement.load]
refuse_above = 1000
[placement.capacity.locations]
a = 0
b = 1
"""
EXCHANGE = """
[requests]
exchange = "100 ms"
[egress]
connect_to = {{ "packages.test:443" = "{address}" }}
"""


def build_of(node: RunningNode, build_uuid: str) -> dict[str, Any]:
    found: dict[str, Any] = node.server.get(f"/builds/builds/{build_uuid}")["kedge"]
    return found


def reason_of(node: RunningNode, build_uuid: str, wanted: str) -> str:
    """Why a build waits, once that is what is wanted; the round that notes it may be yet to come."""
    found = ""
    while wanted not in found:
        time.sleep(0.01)
        wait = build_of(node, build_uuid)["wait"]
        assert wait is not None, "it does not wait any more"
        found = wait["reason"] or ""
    return found


def test_a_build_waits_for_the_place_that_takes_it_and_says_why(
    tmp_path: Path, postgresql_url: str, repository: Repository
) -> None:
    cluster = Cluster(tmp_path, postgresql_url, names=("a", "b"), more=PLACES)
    a, b = cluster["a"], cluster["b"]
    go = tmp_path / "go"
    build = f"echo begun; until [ -e {go} ]; do sleep 0.05; done"
    create_worker(a.server, "app", build=build, deploy="", root="/", branch="main", previews=False)
    pushing = threading.Thread(target=a.push, args=(repository, "app"))
    pushing.start()
    try:
        while not (builds := a.server.get("/builds", per_page=1)):
            time.sleep(0.01)
        first = builds[0]["build_uuid"]
        wait_for_text(b.server, first, "begun\n")
        attempt = build_of(a, first)["attempts"][-1]
        assert (attempt["node"], attempt["location"]) == ("b", "b")

        trigger = a.server.get(f"/builds/builds/{first}")["trigger"]["trigger_uuid"]
        second = a.server.post(f"/builds/triggers/{trigger}/builds", {"branch": "main"})["build_uuid"]
        reason = reason_of(a, second, "1 of 1")
        assert reason == "a: 0 of 0 builds run; b: 1 of 1 builds run"
        go.touch()
        assert wait_for_end(a.server, first)["build_outcome"] == "success"
        assert wait_for_end(a.server, second)["build_outcome"] == "success"
        assert build_of(a, second)["attempts"][-1]["location"] == "b"
    finally:
        go.touch()
        pushing.join()
        cluster.stop()


@contextmanager
def registry(folder: Path, seconds: float) -> Iterator[str]:
    """Packages that are so far away, there and back: a TLS handshake takes so long; the address."""
    certificate = folder / "registry.pem"
    certificate.write_bytes(make_certificate("packages.test"))
    speaks = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    speaks.load_cert_chain(certificate)

    class Handler(StreamRequestHandler):
        def setup(self) -> None:
            time.sleep(2 * seconds)
            with suppress(OSError):
                self.request.do_handshake()
            super().setup()

    class Registry(ThreadingTCPServer):
        daemon_threads = True

        def get_request(self) -> tuple[Any, Any]:
            connection, address = super().get_request()
            return speaks.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass

    with Registry(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def test_a_build_runs_near_the_registry_that_its_variables_name(
    tmp_path: Path, postgresql_url: str, repository: Repository
) -> None:
    with registry(tmp_path, 0.0) as here, registry(tmp_path, 0.1) as there:
        more = PLACES.partition("[placement.capacity")[0].replace('"capacity"', '"distance"') + EXCHANGE
        cluster = Cluster(tmp_path, postgresql_url, names=("near",), more=more.format(address=here))
        try:
            cluster._more = more.format(address=there)
            far = cluster.nodes["far"] = cluster.make("far")
            far.start()
            create_worker(far.server, "app", build="true", deploy="", root="/", branch="main", previews=False)
            far.push(repository, "app")
            trigger = latest_build(far.server)["trigger"]["trigger_uuid"]
            variable = {
                "NPM_CONFIG_REGISTRY": {"value": "https://me:secret@packages.test/", "is_secret": True}
            }
            far.server.patch(f"/builds/triggers/{trigger}/environment_variables", variable)

            # nobody tells when both nodes have measured the way, which they do once a build wants to know
            location = ""
            while location != "near":
                build = far.server.post(f"/builds/triggers/{trigger}/builds", {"branch": "main"})
                assert wait_for_end(far.server, build["build_uuid"])["build_outcome"] == "success"
                location = build_of(far, build["build_uuid"])["attempts"][-1]["location"]
        finally:
            cluster.stop()
