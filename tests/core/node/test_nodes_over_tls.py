"""All that nodes say to each other can be said over TLS."""

from __future__ import annotations

import asyncio
import secrets
import ssl
from typing import TYPE_CHECKING, Any

from tests.core.node import test_locations_under_fire as fire
from tests.core.node import test_workers_of_a_cluster as workers
from tests.core.node.test_control_plane import MORE, far_away, until_writes_go, write
from tests.core.node.test_several_locations import Pair
from websockets.asyncio.client import connect

from kedge.cli.placement_demo.certificate import make_certificate
from kedge.testing.cluster import Cluster
from kedge.testing.delay_proxy import DelayProxy

if TYPE_CHECKING:
    from pathlib import Path

    from kedge.testing.node import RunningNode

PATIENCE = 120.0
LARGE = 3 * 1024 * 1024


def speaking_tls(certificate: Path) -> DelayProxy:
    certificate.write_bytes(make_certificate("localhost"))
    speaks = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    speaks.load_cert_chain(certificate)
    return DelayProxy("127.0.0.1:1", delay=0.0, tls=speaks)


async def test_websockets_are_passed_on_over_tls(tmp_path: Path) -> None:
    key, ca = secrets.token_hex(), tmp_path / "ca.pem"
    program = fire.PROGRAM.replace("{done!r}", repr(str(tmp_path / "done")))
    async with speaking_tls(ca) as link, asyncio.timeout(PATIENCE):
        pair = await asyncio.to_thread(Pair, tmp_path, (key, key), program=program, link=link, ca=str(ca))
        try:
            await asyncio.to_thread(pair.ask_until, "remote-far")
            port = pair.ports["near"]
            async with connect("ws://where.localhost/", host="127.0.0.1", port=port, proxy=None) as talk:
                assert talk.response is not None
                assert talk.response.headers["cf-placement"] == "remote-far"
                await talk.send("hello")
                assert await talk.recv() == "far 127.0.0.1 hello"
        finally:
            await asyncio.to_thread(pair.stop)


def start_cluster(folder: Path, near_url: str, far_url: str, link: DelayProxy, ca: Path) -> Cluster:
    """A node near the database, which others reach at the link alone, and one that is far from it."""
    cluster = Cluster(folder, near_url, names=(), more=MORE)
    for name, database in (("near", near_url), ("far", far_url)):
        cluster._database = database
        node = cluster.nodes[name] = cluster.make(name)
        node.environment["KEDGE_NODE__PEERS_CA"] = f"file:{ca}"
        if name == "near":
            node.environment["KEDGE_NODE__URL"] = f"https://localhost:{link.address.partition(':')[2]}"
        node.start()
        if name == "near":
            link.target = node.server.url.removeprefix("http://")
    return cluster


def use(far: RunningNode, near: RunningNode, folder: Path) -> None:
    until_writes_go(far, "near")
    while write(far, f"w{secrets.token_hex(8)}").headers.get("cf-placement") != "remote-near":
        pass
    far.server.post("/workers/workers", {"name": "where"})
    workers.deploy(far, folder / "one")
    assert [workers.ask(far).text, workers.ask(near).text] == ["one at far", "one at near"]
    found: dict[str, Any] = far.server.get("/workers/workers/where/instances")
    assert (sorted(found["nodes"]), found["silent"]) == (["far", "near"], [])
    # whichever of them has it serve, the other has it answer before
    workers.deploy(near, folder / "two", version="two")
    workers.deploy(far, folder / "three", version="three")


async def test_nodes_of_a_database_do_for_each_other_over_tls_whatever_they_do_without(
    tmp_path: Path, postgresql_url: str
) -> None:
    ca = tmp_path / "ca.pem"
    async with speaking_tls(ca) as link, asyncio.timeout(PATIENCE):
        with far_away(postgresql_url) as far_url:
            cluster = await asyncio.to_thread(start_cluster, tmp_path, postgresql_url, far_url, link, ca)
            try:
                await asyncio.to_thread(use, cluster["far"], cluster["near"], tmp_path)
            finally:
                await asyncio.to_thread(cluster.stop)
