"""What measuring costs: the gateway with a policy that learns from each request, beside one without."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from statistics import median
from typing import TYPE_CHECKING

from bench.figures import Figure
from bench.gateway import CONNECTIONS, WORKER, Target, load
from bench.node import running_node

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.gateway import Load
    from bench.node import Node

ROUNDS = 9
SECONDS = 4
#: the part of its requests that a gateway answers all the same
TARGET = 0.97
NGINX = """
user root; worker_processes 1; pid TMP/nginx.pid; error_log stderr crit; daemon off;
events { worker_connections 1024; }
http {
    access_log off; keepalive_requests 1000000000;
    client_body_temp_path TMP/b; proxy_temp_path TMP/p; fastcgi_temp_path TMP/f;
    uwsgi_temp_path TMP/u; scgi_temp_path TMP/s;
    server { listen 127.0.0.1:PORT; location / { return 200 "Hello\\n"; } }
}
"""
START = """
sed -e "s#TMP#$TMPDIR#g; s#PORT#$PORT#" nginx.conf > "$TMPDIR/nginx.conf"
exec nginx -c "$TMPDIR/nginx.conf"
"""
TOML = """
[worker]
kind = "command"
entry = ["sh", "start.sh"]
max_instances = 1
concurrency = 1000
[worker.placement]
mode = "smart"
"""


def measure() -> list[Figure]:
    """Requests a second, in turns, of a worker that wants to be placed and asks nobody."""
    for program in ("wrk", "nginx"):
        if shutil.which(program) is None:
            raise SystemExit(f"{program} is not installed: apt-get install wrk nginx-light")
    with ExitStack() as stack:
        nodes = {
            name: stack.enter_context(running_node(config))
            for name, config in (("without", ""), ("with", '[requests]\nuse = "smart"\n'))
        }
        for node in nodes.values():
            _deploy(node)
        loads = _in_turns({name: Target(node.server.url, node.pid) for name, node in nodes.items()})
    return [
        _figure("requests/s", loads, lambda load: load.requests_s, at_least=True),
        # a busy machine takes requests a second from all, and CPU of a request from nobody
        _figure("CPU of a request", loads, lambda load: load.cpu_us, at_least=False),
    ]


def _figure(
    title: str, loads: dict[str, list[Load]], of: Callable[[Load], float], *, at_least: bool
) -> Figure:
    # neighbours in time are compared, since the machine may be busier later
    pairs = zip(loads["with"], loads["without"], strict=True)
    return Figure(
        name=f"measuring requests beside not: {title}, ratio",
        value=median(of(with_) / of(without) for with_, without in pairs),
        unit="",
        target=TARGET if at_least else 1 / TARGET,
        at_least=at_least,
        baseline=1.0,
        baseline_name=f"not measured: {median(of(one) for one in loads['without']):.0f}",
    )


def _in_turns(targets: dict[str, Target]) -> dict[str, list[Load]]:
    loads: dict[str, list[Load]] = {name: [] for name in targets}
    for target in targets.values():
        # until a worker is measured as one that is busy
        load(target, "/", CONNECTIONS, 2)
    for turn in range(ROUNDS):
        for name in sorted(targets, reverse=turn % 2 == 1):
            loads[name].append(load(targets[name], "/", CONNECTIONS, SECONDS))
    return loads


def _deploy(node: Node) -> None:
    project = node.folder / "project"
    project.mkdir()
    for name, content in {"nginx.conf": NGINX, "start.sh": START, "kedge.toml": TOML}.items():
        (project / name).write_text(content)
    node.server.post("/workers/workers", {"name": WORKER})
    environment = {"KEDGE_URL": node.server.url, "KEDGE_TOKEN": node.server.token, "KEDGE_WORKER": WORKER}
    subprocess.run(
        [sys.executable, "-m", "kedge", "deploy", "."], cwd=project, env=os.environ | environment, check=True
    )
