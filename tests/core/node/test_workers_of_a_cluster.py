"""Workers in a cluster of three locations that know no more than a database, a key and their names."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING

import httpx
import pytest

from kedge.client import ClientError
from kedge.testing.cluster import Cluster

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kedge.testing.node import RunningNode

#: tells which version it is and where it runs, and prints what it is asked
PROGRAM = """
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        print("asked for", self.path, flush=True)
        body = f"VERSION at {os.environ['KEDGE_LOCATION']}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
TOML = '[worker]\nkind = "command"\nentry = ["python3", "-S", "server.py"]\n'
SOON = '[requests]\nexchange = "100 ms"\n'


@pytest.fixture
def cluster(tmp_path: Path, postgresql_url: str) -> Iterator[Cluster]:
    made = Cluster(tmp_path, postgresql_url, more=SOON)
    made["a"].server.post("/workers/workers", {"name": "where"})
    yield made
    made.stop()


def deploy(node: RunningNode, folder: Path, *, version: str = "one", wish: str = "") -> None:
    folder.mkdir(exist_ok=True)
    (folder / "server.py").write_text(PROGRAM.replace("VERSION", version))
    (folder / "kedge.toml").write_text(TOML + wish)
    where = {"KEDGE_URL": node.server.url, "KEDGE_TOKEN": node.server.token, "KEDGE_WORKER": "where"}
    deployed = subprocess.run(
        [sys.executable, "-m", "kedge", "deploy", "."],
        cwd=folder,
        env=os.environ | where,
        check=False,
        capture_output=True,
        text=True,
    )
    assert deployed.returncode == 0, deployed.stderr


def ask(node: RunningNode, path: str = "/") -> httpx.Response:
    headers = {"Host": "where.localhost"}
    return httpx.get(node.server.url + path, headers=headers, trust_env=False, timeout=60)


def test_what_is_deployed_at_one_node_is_served_by_instances_of_every_node(
    cluster: Cluster, tmp_path: Path
) -> None:
    deploy(cluster["a"], tmp_path / "worker")
    assert [ask(cluster[name]).text for name in "abc"] == ["one at a", "one at b", "one at c"]

    deploy(cluster["b"], tmp_path / "worker", version="two")
    answers = {name: ask(cluster[name]).text for name in "abc"}
    end = time.monotonic() + 60
    while set(answers.values()) != {f"two at {name}" for name in "abc"} and time.monotonic() < end:
        answers = {name: ask(cluster[name]).text for name in "abc"}
    assert answers == {name: f"two at {name}" for name in "abc"}


def test_nodes_of_a_database_pass_requests_on_to_each_other_without_being_told_of_peers(
    cluster: Cluster, tmp_path: Path
) -> None:
    deploy(cluster["a"], tmp_path / "worker", wish='[worker.placement]\nregion = "test:c"\n')
    while (answer := ask(cluster["a"])).text != "one at c":
        assert answer.status_code == 200
    assert answer.headers["cf-placement"] == "remote-c"

    cluster["c"].kill()
    assert [ask(cluster["a"]).text, ask(cluster["b"]).text] == ["one at a", "one at b"]


def test_any_node_shows_what_runs_and_what_is_printed_on_all_of_them(
    cluster: Cluster, tmp_path: Path
) -> None:
    deploy(cluster["a"], tmp_path / "worker")
    for name in "abc":
        ask(cluster[name], f"/first-at-{name}")
    path = "/workers/workers/where"

    for name in "abc":
        found = cluster[name].server.get(f"{path}/instances")
        assert (sorted(found["nodes"]), found["silent"], found["failures"]) == (["a", "b", "c"], [], {})
        assert {one["node"] for one in found["instances"]} == {"a", "b", "c"}

    follow(cluster["b"], {f"asked for /first-at-{name}" for name in "abc"})
    page = cluster["c"].server.get(f"{path}/logs", tail=100)
    assert {f"asked for /first-at-{name}" for name in "abc"} <= {text for _, text in page["lines"]}
    own = cluster["c"].server.get(f"{path}/logs", node="a")
    assert "asked for /first-at-a" in {text for _, text in own["lines"]}
    assert "asked for /first-at-b" not in {text for _, text in own["lines"]}

    with pytest.raises(ClientError, match="there is a, b, c"):
        cluster["c"].server.get(f"{path}/logs", node="d")

    ask(cluster["a"], "/second")
    follow(cluster["c"], {"asked for /second"}, cursor=page["cursor"])

    cluster["b"].server.delete(path)
    gone = time.monotonic() + 60
    while any(ask(cluster[name]).status_code != 404 for name in "abc"):
        assert time.monotonic() < gone


def follow(node: RunningNode, awaited: set[str], **start: str) -> None:
    """Return once every line has come."""
    seen = ""
    with closing(node.server.events("/workers/workers/where/logs", **start)) as events:
        for event in events:
            if event.event == "log":
                seen += event.json()["text"]
            if awaited <= set(seen.splitlines()):
                return
    raise AssertionError(f"{awaited} is not in {seen!r}")
