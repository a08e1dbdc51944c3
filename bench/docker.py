"""Builds in containers, beside the engine's own create and start of the same image."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tests.docker_engine import Engine, find_engine

from bench.figures import Figure, p50, p95
from bench.follower import first_log
from bench.node import build_now, running_node, wait_until_idle

if TYPE_CHECKING:
    from bench.node import Node

ROUNDS = 20
SUSTAINED, EVERY_SECONDS = 50, 1.2
CONFIG = '[compute]\nuse = "docker"\n[compute.docker]\nimage = "{image}"\nwarm = {warm}\n'
SAY = ["python3", "-I", "-S", "-c", "print(1, flush=True)"]


def measure() -> list[Figure]:
    """From a push to the first line, with and without a container that waits; fifty builds in a minute."""
    engine = find_engine()
    if isinstance(engine, str):
        print(f"not measured: {engine}")
        return []
    figures: list[Figure] = []
    for warm, most in ((1, 0.2), (0, 1.15)):
        with running_node(CONFIG.format(image=engine.image, warm=warm)) as node:
            figures.append(_latency(node, engine, warm=warm, most=most))
            if warm:
                figures += _sustained(node)
    return figures


def _latency(node: Node, engine: Engine, *, warm: int, most: float) -> Figure:
    """The two take turns, so that both see the same machine."""
    trigger = node.trigger("latency", build="true")
    delays, raw = [], []
    for _ in range(ROUNDS):
        raw.append(_create_and_start(engine))
        time.sleep(1)  # for another container to wait
        delays.append(_first_line(node, trigger))
        wait_until_idle(node.server)
    baseline = p50(raw)
    return Figure(
        name=f"Docker: push accepted → first log line, {'with' if warm else 'without'} a warm container, p50",
        value=p50(delays),
        unit="ms",
        target=baseline * most,
        baseline=baseline,
        baseline_name="create + start of the image to its first byte",
    )


def _first_line(node: Node, trigger: str) -> float:
    build = build_now(node.server, trigger)
    accepted = datetime.fromisoformat(build["created_on"]).timestamp()
    return (asyncio.run(first_log(node.server, build["build_uuid"])) - accepted) * 1000


def _create_and_start(engine: Engine) -> float:
    api: Any = engine.client.api
    began = time.perf_counter()
    made = api.create_container(engine.image, SAY, entrypoint=[])["Id"]
    output = api.attach(made, stream=True)
    api.start(made)
    next(output)
    took = (time.perf_counter() - began) * 1000
    api.remove_container(made, force=True, v=True)
    return took


def _sustained(node: Node) -> list[Figure]:
    """Builds at an even pace: each is to find a container waiting, or it would be late."""
    trigger = node.trigger("sustained", build="true")
    time.sleep(1)
    delays, began = [], time.monotonic()
    for number in range(SUSTAINED):
        time.sleep(max(0.0, began + number * EVERY_SECONDS - time.monotonic()))
        delays.append(_first_line(node, trigger))
    wait_until_idle(node.server)
    rate = SUSTAINED / (time.monotonic() - began) * 60
    return [
        Figure(name="Docker: builds a minute, sustained", value=rate, unit="/min", target=49, at_least=True),
        Figure(name="Docker: first log line while sustained, p95", value=p95(delays), unit="ms"),
    ]
