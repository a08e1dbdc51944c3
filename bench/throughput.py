"""200 builds of `true`, each with a real clone, six at once."""

from __future__ import annotations

import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.figures import Figure
from bench.node import build_now, git, make_repository, running_node
from kedge.testing.postgresql import server

BUILDS = 200
AT_ONCE = 6


def measure() -> list[Figure]:
    """Builds a second end to end, and the control plane's CPU for each."""
    return _measure("", "")


def measure_postgresql() -> list[Figure]:
    """The same with the rows and the growing logs in a PostgreSQL of its own, for one node."""
    with server(None) as postgresql, postgresql.database() as url, tempfile.TemporaryDirectory() as folder:
        config = f'database = "{url}"\n[logs]\nuse = "database"\n[blobs.disk]\nfolder = "{folder}"\n'
        return _measure(config, ", PostgreSQL")


def _measure(config: str, where: str) -> list[Figure]:
    with running_node(config) as node:
        trigger = node.trigger("throughput", build="true")
        before, began = node.cpu_seconds(), time.perf_counter()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: build_now(node.server, trigger), range(BUILDS)))
        while node.server.get("/builds", status="running", per_page=1) or node.server.get("/builds/queue"):
            time.sleep(0.1)
        while any(build["status"] != "stopped" for build in node.server.get("/builds", per_page=AT_ONCE * 2)):
            time.sleep(0.02)
        seconds = time.perf_counter() - began
        cpu = (node.cpu_seconds() - before) / BUILDS * 1000
        builds = node.server.get("/builds", per_page=200)
        assert all(build["build_outcome"] == "success" for build in builds), "a build failed"
    return [
        Figure(
            name=f"{BUILDS} builds of `true` with a clone, {AT_ONCE} at once{where}",
            value=BUILDS / seconds,
            unit="builds/s",
            target=25,
            at_least=True,
            baseline=_raw_rate(),
            baseline_name="`git clone` + `sh -c true`, six at once",
        ),
        Figure(name=f"control plane CPU for each build{where}", value=cpu, unit="ms", target=15),
    ]


def _raw_rate() -> float:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        make_repository(source)
        bare = Path(folder) / "bare.git"
        git("clone", "-q", "--bare", str(source), str(bare), cwd=Path(folder))

        def build(number: int) -> None:
            target = f"{folder}/clone-{number}"
            subprocess.run(["git", "clone", "-q", "--depth", "1", f"file://{bare}", target], check=True)
            subprocess.run(["sh", "-c", "true"], cwd=target, check=True)

        began = time.perf_counter()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(build, range(BUILDS)))
        return BUILDS / (time.perf_counter() - began)
