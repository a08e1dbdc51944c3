"""Calls that write are done near the database, whichever node is asked."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import httpx
from sqlalchemy.engine import make_url

from kedge.placement.control_plane import BASELINE, ControlPlane
from kedge.placement.peers import Peer
from kedge.testing.cluster import Cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kedge.testing.node import RunningNode

#: there and back: 12 ms
DELAY = 0.006
MORE = '[requests]\nexchange = "100 ms"\n'


@contextmanager
def far_away(url: str) -> Iterator[str]:
    """The URL of the same database, as from another continent."""
    real = make_url(url)
    with TemporaryDirectory(prefix="kedge-far-") as folder, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(Path(folder) / ".s.PGSQL.5432"))
        listener.listen(64)
        threading.Thread(target=_accept, args=(listener, url), daemon=True).start()
        far = real.set(host=None, port=None, query={"host": folder})
        yield far.render_as_string(hide_password=False)
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


def _accept(listener: socket.socket, url: str) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            server = _connected(url)
            for one, other in ((client, server), (server, client)):
                threading.Thread(target=_late, args=(one, other), daemon=True).start()


def _connected(url: str) -> socket.socket:
    real = make_url(url)
    folder = real.query.get("host")
    if folder is None:
        return socket.create_connection((real.host or "127.0.0.1", real.port or 5432))
    made = socket.socket(socket.AF_UNIX)
    made.connect(f"{folder}/.s.PGSQL.{real.query.get('port', 5432)}")
    return made


def _late(source: socket.socket, target: socket.socket) -> None:
    """Question and answer take turns in PostgreSQL's protocol, so that each may be held back alone."""
    with suppress(OSError), source, target:
        while data := source.recv(1 << 16):
            time.sleep(DELAY)
            target.sendall(data)
        target.shutdown(socket.SHUT_RDWR)


def until_writes_go(node: RunningNode, location: str) -> None:
    """Nobody tells when enough was measured, or when a node was missed."""
    while node.server.get("/workers/placement/control-plane")["writes_go_to"] != location:
        time.sleep(0.05)


def write(node: RunningNode, name: str) -> httpx.Response:
    url = f"{node.server.url}/client/v4/accounts/default/workers/workers"
    headers = {"Authorization": f"Bearer {node.server.token}"}
    answer = httpx.post(url, json={"name": name}, headers=headers, trust_env=False, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer


def doctor_says_of_writes(node: RunningNode) -> str:
    """What `kedge doctor` tells of them that is asked beside a node."""
    command = [sys.executable, "-m", "kedge", "doctor", "--json", "--data-dir", str(node.data_dir)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    (found,) = [one for one in json.loads(told) if one["what"] == "writes of the API"]
    assert found["state"] == "ok"
    return str(found["found"])


def test_a_node_that_is_far_from_the_database_has_writes_done_by_one_that_is_near(
    tmp_path: Path, postgresql_url: str
) -> None:
    with far_away(postgresql_url) as far_url:
        cluster = Cluster(tmp_path, postgresql_url, names=("near",), more=MORE)
        try:
            cluster._database = far_url
            far, near = cluster.make("far"), cluster["near"]
            cluster.nodes["far"] = far
            far.start()
            until_writes_go(far, "near")

            answers = [write(far, f"app{number}") for number in range(20)]
            remote = [one for one in answers if one.headers.get("cf-placement") == "remote-near"]
            assert len(remote) >= 15
            assert len(near.server.get("/workers/workers")) == 20
            assert "cf-placement" not in write(near, "own").headers

            told = far.server.get("/workers/placement/control-plane")
            assert told["expected_there_ms"] < told["expected_here_ms"]
            assert {one["location"] for one in told["nodes"]} == {"near", "far"}
            assert sum(one["requests"] for one in told["series"] if one["placed"]) == len(remote)

            said = doctor_says_of_writes(far)
            assert said.startswith("done at near: ")
            assert f"; {len(remote)} took" in said
            assert " ms here" in said
            own = doctor_says_of_writes(near)
            assert own.startswith("done at near: ")
            assert " here" not in own

            near.kill()
            until_writes_go(far, "far")
            assert doctor_says_of_writes(far).startswith("done at far: ")
            assert "cf-placement" not in write(far, "alone").headers
        finally:
            cluster.stop()


def control_plane(own_ms: float) -> ControlPlane:
    made = ControlPlane("here", "sydney")
    made.measured(own_ms)
    return made


PEER = Peer(name="there", location="frankfurt", region=None, address="127.0.0.1:1")


def goes(control: ControlPlane, way: float | None, *, alive: bool = True) -> bool:
    ways = {} if way is None else {"frankfurt": way}
    found = [control.choose({"there": PEER}, ways, ["there"] if alive else []) for _ in range(200)]
    assert found.count(None) in {*range(200 - 150), 200}
    return found.count(None) < 200


def test_the_way_to_the_other_node_counts() -> None:
    control = control_plane(200.0)
    assert not goes(control, 100.0)
    control.found([("there", "frankfurt", 1.0)])
    assert goes(control, 100.0)
    assert not goes(control, 590.0)
    assert not goes(control, None)
    assert not goes(control, 100.0, alive=False)
    control.found([("there", "frankfurt", None)])
    assert not goes(control, 100.0)


def test_small_differences_are_not_worth_it() -> None:
    control = control_plane(2.0)
    control.found([("there", "frankfurt", 0.5)])
    assert not goes(control, 0.2)
    assert 0 < BASELINE < 0.1


def test_single_measurements_that_are_off_do_not_count() -> None:
    control = control_plane(1.0)
    for took in (1.0, 1.0, 900.0, 1.0):
        control.measured(took)
    assert control.database_ms == 1.0
