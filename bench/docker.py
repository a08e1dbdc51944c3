"""Builds in containers, beside the engine's own create and start of the same image."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tests.docker_engine import Engine, find_engine, label_of

from bench.figures import Figure, p50, p95
from bench.follower import first_log
from bench.node import build_now, running_node, wait_until_idle
from kedge_docker.engine import close_stream
from kedge_docker.labels import attempt_in

if TYPE_CHECKING:
    from collections.abc import Iterator

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
                figures += _sustained(node, engine)
    return figures


def _latency(node: Node, engine: Engine, *, warm: int, most: float) -> Figure:
    """The two take turns, so that both see the same machine."""
    trigger = node.trigger("latency", build="true")
    delays, raw = [], []
    for _ in range(ROUNDS):
        raw.append(_create_and_start(engine))
        time.sleep(1)  # for another container to wait
        delays.append(_build(node, trigger)[1])
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


def _build(node: Node, trigger: str) -> tuple[dict[str, Any], float]:
    """A new build, and the milliseconds from when it was accepted to its first line."""
    build = build_now(node.server, trigger)
    first = asyncio.run(first_log(node.server, build["build_uuid"]))
    return build, (first - _accepted(build)) * 1000


def _accepted(build: dict[str, Any]) -> float:
    return datetime.fromisoformat(build["created_on"]).timestamp()


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


def _sustained(node: Node, engine: Engine) -> list[Figure]:
    """Builds at an even pace: each is to find a container waiting."""
    trigger = node.trigger("sustained", build="true")
    time.sleep(1)
    delays, accepted, began = [], {}, time.monotonic()
    with _starts(node, engine) as started:
        for number in range(SUSTAINED):
            time.sleep(max(0.0, began + number * EVERY_SECONDS - time.monotonic()))
            build, delay = _build(node, trigger)
            delays.append(delay)
            accepted[build["build_uuid"]] = _accepted(build)
        wait_until_idle(node.server)
        rate = SUSTAINED / (time.monotonic() - began) * 60
    cold = sum(started.get(build, math.inf) > at for build, at in accepted.items())
    return [
        Figure(name="Docker: builds a minute, sustained", value=rate, unit="/min", target=49, at_least=True),
        Figure(
            name="Docker: sustained builds that found no container waiting", value=cold, unit="", target=0
        ),
        Figure(name="Docker: first log line while sustained, p95", value=p95(delays), unit="ms"),
    ]


@contextmanager
def _starts(node: Node, engine: Engine) -> Iterator[dict[str, float]]:
    """When the container of each build was started, by the build's id; those that wait are renamed."""
    started: dict[str, float] = {}
    at: dict[str, float] = {container.id or "": 0.0 for container in engine.containers_of(node.data_dir)}
    filters = {"type": "container", "event": ["start", "rename"], "label": label_of(node.data_dir)}
    events = engine.client.events(decode=True, filters=filters)

    def listen() -> None:
        with suppress(Exception):  # the stream is cut at the end
            for event in events:
                container = event["Actor"]["ID"]
                if event["Action"] == "start":
                    at[container] = event["timeNano"] / 1e9
                if (name := attempt_in(event["Actor"]["Attributes"]["name"])) is not None:
                    started[name.build_uuid] = at[container]

    listener = threading.Thread(target=listen)
    listener.start()
    try:
        yield started
    finally:
        close_stream(events)
        listener.join()
