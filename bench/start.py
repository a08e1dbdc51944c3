"""From an accepted push to the first line of log at a follower; from `kedge up` to ready; idling."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from datetime import datetime

from bench.figures import Figure, p50
from bench.follower import first_log
from bench.node import Node, build_now, memory, running_node, wait_until_idle

ROUNDS = 30
IDLE_SECONDS = 10


def measure() -> list[Figure]:
    """Start latency with and without a warm runner, cold start, idle cost."""
    figures = []
    for warm, target in ((1, 30), (0, 60)):
        with running_node(f"[compute.process]\nwarm = {warm}\n") as node:
            name = "with a warm runner" if warm else "without a warm runner"
            figures.append(
                Figure(
                    name=f"push accepted → first log line at a follower, {name}, p50",
                    value=_first_line(node),
                    unit="ms",
                    target=target,
                    baseline=_interpreter(),
                    baseline_name="`python -I -S -c pass`",
                )
            )
            if warm:
                figures += _idle(node)
    return [*figures, _cold_start()]


def _first_line(node: Node) -> float:
    trigger = node.trigger("latency", build="true")
    delays = []
    for _ in range(ROUNDS):
        build = build_now(node.server, trigger)
        accepted = datetime.fromisoformat(build["created_on"]).timestamp()
        delays.append((asyncio.run(first_log(node.server, build["build_uuid"])) - accepted) * 1000)
        wait_until_idle(node.server)
        time.sleep(0.1)
    return p50(delays)


def _interpreter() -> float:
    times = []
    for _ in range(10):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-I", "-S", "-c", "pass"], check=True)
        times.append((time.perf_counter() - began) * 1000)
    return p50(times)


def _idle(node: Node) -> list[Figure]:
    time.sleep(1)
    before = node.cpu_seconds()
    time.sleep(IDLE_SECONDS)
    used = (node.cpu_seconds() - before) / IDLE_SECONDS * 100
    return [
        Figure(name="idle CPU", value=used, unit="%", target=1),
        Figure(name="idle memory", value=memory(node.pid, "VmRSS"), unit="MiB", target=90),
    ]


def _cold_start() -> Figure:
    times = []
    for _ in range(5):
        with running_node() as node:
            times.append(node.ready_seconds)
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import sqlmodel, starlette, uvicorn"], check=True)
    imports = time.perf_counter() - began
    return Figure(
        name="cold `kedge up` to ready, first start, p50",
        value=p50(times),
        unit="s",
        target=1.0,
        baseline=imports,
        baseline_name="importing SQLModel, Starlette and uvicorn",
    )
