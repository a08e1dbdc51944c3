"""What one node passes on to another stays there, wherever that one would have it done."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import httpx
from tests.core.node.test_control_plane import MORE, far_away, until_writes_go, write
from tests.core.node.test_several_locations import TOML, Pair

from kedge.placement.cluster_key import ClusterKey, Forwarded
from kedge.testing.cluster import Cluster

if TYPE_CHECKING:
    from pathlib import Path

SAID = Forwarded(entry="elsewhere", visitor="192.0.2.1", scheme="http", request_id="r")


class EachWantsTheOther(Pair):
    """Each node has a version that wants to be at the other."""

    def deploy(self, name: str, folder: Path) -> None:
        other = next(one for one in self.ports if one != name)
        self.toml = TOML.replace("test:far", f"test:{other}")
        super().deploy(name, folder)


def test_nodes_that_would_each_pass_a_request_on_to_the_other_do_so_once(tmp_path: Path) -> None:
    key = secrets.token_hex()
    pair = EachWantsTheOther(tmp_path, (key, key))
    try:
        pair.ask_until("remote-far")
        while pair.ask(node="far").headers["cf-placement"] != "remote-near":
            pass
        for _ in range(10):
            assert pair.ask().json()["location"] == "far"
            assert pair.ask("POST", content=b"x" * 100_000).json()["location"] == "far"
            assert pair.ask(node="far").json()["location"] == "near"
    finally:
        pair.stop()


def test_a_write_that_was_passed_on_is_done_where_it_comes_in(tmp_path: Path, postgresql_url: str) -> None:
    secret = tmp_path / "cluster.key"
    secret.write_text(secrets.token_hex())
    with far_away(postgresql_url) as far_url:
        cluster = Cluster(tmp_path, postgresql_url, names=(), more=MORE)
        try:
            for name, database in (("near", postgresql_url), ("far", far_url)):
                cluster._database = database
                cluster.nodes[name] = node = cluster.make(name)
                node.environment["KEDGE_NODE__CLUSTER_KEY"] = f"file:{secret}"
                node.start()
            far = cluster["far"]
            until_writes_go(far, "near")
            while write(far, f"w{secrets.token_hex(8)}").headers.get("cf-placement") != "remote-near":
                pass

            key, path = ClusterKey(secret.read_text()), "/client/v4/accounts/default/workers/workers"
            host = far.server.url.removeprefix("http://")
            moment, answers = b"", []
            for number in range(20):
                signed = key.sign(SAID, "POST", host.encode(), path.encode(), moment=moment)
                headers = {"Authorization": f"Bearer {far.server.token}", "kedge-forward": signed.decode()}
                answer = httpx.post(
                    far.server.url + path, json={"name": f"w{number}"}, headers=headers, trust_env=False
                )
                answers.append(answer)
                moment = answer.headers.get("kedge-moment", "").encode() or moment
        finally:
            cluster.stop()
    assert [answer.status_code for answer in answers] == [401] + [200] * 19
    assert not any("cf-placement" in answer.headers for answer in answers)
