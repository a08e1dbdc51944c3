"""The experiment: requests from one place to a worker that asks for data of another, three times each."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

import httpx

from kedge.cli.failure import CommandFailed
from kedge.cli.placement_demo.world import BACK_END, LOCATIONS, VISITOR, World

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: asks for data three times, one after the other, and answers
PROGRAM = f"""
import os, ssl, urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
anybody = ssl._create_unverified_context()
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        status, body = 200, b"done"
        try:
            for _ in range(3 if self.path != "/health" else 0):
                urllib.request.urlopen("https://{BACK_END}/", timeout=30, context=anybody).read()
        except OSError as error:
            status, body = 500, repr(error).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
#: visitors who ask at the same time, each with an instance of his own
VISITORS = 16
#: the most requests to each location, to find out which is the best, and those before to start instances
TRIES, FIRST = 5 * VISITORS, 2 * VISITORS
#: the part of the requests that may fail before nothing is concluded from the others; one always may
MOST_FAILED = 0.01


@dataclass(frozen=True)
class Answer:
    """One answer, as the visitor saw it."""

    location: str
    placed: bool
    ms: float
    at: float


async def run_experiment(folder: Path, requests: int, *, say: Callable[[str], None]) -> dict[str, Any]:
    """Run it; what was found, as JSON. Raises `CommandFailed`."""
    say("Starting three locations: sydney, frankfurt, virginia …")
    async with World(folder) as world:
        await asyncio.gather(*(_deploy(world, location) for location in LOCATIONS))
        say(f"{requests} requests from sydney to a worker that asks frankfurt three times each …")
        async with _visitor(world) as visitor:
            answers = await _ask(visitor, "app", requests)
            say("The same worker at each location, to see which is the best …")
            tries = max(VISITORS, min(TRIES, requests // 8))
            medians = {str(location): await _median_at(visitor, location, tries) for location in LOCATIONS}
    return {"requests": requests, "failed_requests": requests - len(answers), **_found(answers, medians)}


def _found(answers: list[Answer], medians: dict[str, float]) -> dict[str, Any]:
    placed = [answer for answer in answers if answer.placed]
    unplaced = [answer for answer in answers if not answer.placed]
    if not placed:
        raise CommandFailed(
            f"nothing was placed in {len(answers)} requests; ask for more by --requests, or see the logs"
        )
    first = min(answer.at for answer in placed)
    locations = {answer.location for answer in placed}
    before, after = median(one.ms for one in unplaced), median(one.ms for one in placed)
    best = min(medians, key=medians.__getitem__)
    return {
        "median_unplaced_ms": round(before, 1),
        "median_placed_ms": round(after, 1),
        "median_speedup": round(before / after, 2),
        "decided_after_requests": sum(answer.at <= first for answer in answers),
        "decided_after_s": round(first, 1),
        "location": " ".join(sorted(locations)),
        "unplaced_requests": len(unplaced),
        "best_location": best,
        "median_ms_by_location": {location: round(ms, 1) for location, ms in medians.items()},
    }


async def _deploy(world: World, location: str) -> None:
    """The worker that is to be placed, and one for each location that stays where it is told."""
    wishes = {"app": 'mode = "smart"'} | {f"at-{one}": f'region = "x:{one}"' for one in LOCATIONS}
    for worker, wish in wishes.items():
        folder = world.folder / location / worker
        folder.mkdir()
        (folder / "server.py").write_text(PROGRAM)
        (folder / "kedge.toml").write_text(
            '[worker]\nkind = "command"\nentry = ["python3", "-S", "server.py"]\nhealth = "/health"\n'
            f"concurrency = 1\nmax_instances = {VISITORS}\n[worker.placement]\n{wish}\n"
        )
        node = world.nodes[location]
        node.post("/workers/workers", {"name": worker})
        environment = {"KEDGE_URL": node.url, "KEDGE_TOKEN": node.token, "KEDGE_WORKER": worker}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "kedge", "deploy", "."),
            cwd=folder,
            env=os.environ | environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        if process.returncode:
            raise CommandFailed(f"the worker cannot be deployed at {location}: {said.decode().strip()}")


def _visitor(world: World) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=VISITORS, max_keepalive_connections=VISITORS)
    return httpx.AsyncClient(base_url=world.nodes[VISITOR].url, limits=limits, timeout=60, trust_env=False)


async def _median_at(visitor: httpx.AsyncClient, location: str, tries: int) -> float:
    """What requests take that are told to run there, in milliseconds, by as many visitors as were placed."""
    await _ask(visitor, f"at-{location}", FIRST)
    answers = await _ask(visitor, f"at-{location}", tries)
    return median(answer.ms for answer in answers)


async def _ask(client: httpx.AsyncClient, worker: str, requests: int) -> list[Answer]:
    answers: list[Answer] = []
    failures: list[str] = []
    left = iter(range(requests))
    began = time.perf_counter()

    async def visit() -> None:
        for _ in left:
            asked = time.perf_counter()
            response = await client.get("/", headers={"Host": f"{worker}.localhost"})
            answered = time.perf_counter()
            if response.status_code != 200:
                failures.append(f"status {response.status_code}: {response.text.strip()}")
                continue
            how, _, location = response.headers["cf-placement"].partition("-")
            answers.append(Answer(location, how == "remote", (answered - asked) * 1000, answered - began))

    async with asyncio.TaskGroup() as group:
        for _ in range(VISITORS):
            group.create_task(visit())
    if len(failures) > max(1, requests * MOST_FAILED):
        raise CommandFailed(f"{len(failures)} of {requests} requests failed, such as by {failures[0]}")
    return answers
