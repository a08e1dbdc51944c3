"""`kedge placement …`."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from kedge.cli.duration_plot import save_plot
from kedge.cli.options import Json, Worker
from kedge.cli.output import print_json, print_table, say
from kedge.cli.with_server import with_server
from kedge.client import Server


def _ending(ending: str) -> Callable[[Path | None], Path | None]:
    """What a file that a picture is written to has to end with."""

    def check(path: Path | None) -> Path | None:
        if path is not None and path.suffix.lower() != ending:
            raise typer.BadParameter(f"the file's name has to end with {ending}")
        return path

    return check


app = typer.Typer(no_args_is_help=True, help="Where the requests of a worker run, and why.")

Svg = Annotated[Path | None, typer.Option("--svg", callback=_ending(".svg"), help="Draw into this file.")]
Png = Annotated[Path | None, typer.Option("--png", callback=_ending(".png"), help="Draw into this file.")]
#: of the histogram
ROWS, WIDTH = 12, 50


@app.command()
@with_server
def explain(server: Server, worker: Worker, json: Json = False) -> None:
    """Say of each route where it runs, why, and what was expected of every location."""
    found = server.get(f"/workers/workers/{worker}/placement")
    if json:
        print_json(found)
        return
    if not found["smart"]:
        here = found["location"]
        say(f'The node at {here} places no requests: set [requests] use = "smart" in its configuration.')
    elif not found["routes"]:
        say(
            f"Nothing is known of {worker} at {found['location']}: it has not asked to be placed "
            '([worker.placement] mode = "smart" in kedge.toml), or nobody has asked for it yet.'
        )
    for route in found["routes"]:
        say(f"{route['route']} from {route['entry']}: runs in {route['location']} ({route['status']})")
        say(f"  {route['reason']}; {route['invocations']} invocations")
        for location, share in route.get("tried", {}).items():
            say(f"  requests take longer than they used to: {share:.0%} of them are tried in {location}")
        for host, rounds in route["rounds"].items():
            say(f"  waits {rounds:.1f} round trips for {host}")
        for host, reason in route["excluded"].items():
            say(f"  {host} does not count: {reason}")
        print_table(
            ("LOCATION", "EXPECTED", "OBSERVED", "REQUESTS", ""),
            [
                (
                    one["location"],
                    _ms(one["expected_ms"]),
                    _ms(one["observed_ms"]),
                    str(one["requests"]),
                    one["refused"] or "",
                )
                for one in route["candidates"]
            ],
            empty="",
        )


@app.command()
@with_server
def control_plane(server: Server, json: Json = False) -> None:
    """Say where calls of the API that write are done: near the database, if that is far from here."""
    found = server.get("/workers/placement/control-plane")
    if json:
        print_json(found)
        return
    here, there = found["expected_here_ms"], found["expected_there_ms"]
    say(f"Writes asked for at {found['location']} are done at {found['writes_go_to']}.")
    if here is not None:
        say(f"  expected: {here:.1f} ms here, {there:.1f} ms there")
    for series in found["series"]:
        quantiles = ", ".join(f"{name} {ms:.0f} ms" for name, ms in series["quantiles_ms"].items())
        say(f"  took at {series['location']}: {series['requests']} writes, {quantiles}")
    print_table(
        ("NODE", "LOCATION", "WAY", "TRANSACTION"),
        [
            (one["name"], one["location"], _ms(one["way_ms"]), _ms(one["database_ms"]))
            for one in found["nodes"]
        ],
        empty="",
    )


@app.command()
@with_server
def durations(server: Server, worker: Worker, json: Json = False, svg: Svg = None, png: Png = None) -> None:
    """Draw how long requests took, placed and not."""
    found = server.get(f"/workers/workers/{worker}/placement/durations")
    if json:
        print_json(found)
        return
    every = [series for series in found["series"] if series["route"] == "*"]
    if not every:
        say(f"Nobody has asked for {worker} at {found['location']} yet, or it has not asked to be placed.")
        return
    if pictures := [path for path in (svg, png) if path is not None]:
        for path in pictures:
            save_plot(path, f"{worker}, seen from {found['location']}", every)
            say(f"wrote {path}")
        return
    for series in every:
        quantiles = ", ".join(f"{name} {ms:.0f} ms" for name, ms in series["quantiles_ms"].items())
        say(f"{'placed' if series['placed'] else 'not placed'}: {_requests(series)}, {quantiles}")
        for line in draw(series["histogram"]):
            say(f"  {line}")


def draw(histogram: list[dict[str, Any]]) -> list[str]:
    """Bars from the shortest to the longest duration, each a step of the same ratio."""
    least, most = histogram[0]["ms"] or 0.01, histogram[-1]["ms"] or 0.01
    ratio = max((most / least) ** (1 / ROWS), 1.05)
    shares: dict[int, float] = {}
    for bar in histogram:
        row = min(int(math.log(max(bar["ms"], least) / least, ratio) + 1e-9), ROWS - 1)
        shares[row] = shares.get(row, 0.0) + bar["share"]
    top = max(shares.values())
    return [
        f"{least * ratio**row:9.1f} ms  {'█' * max(round(share / top * WIDTH), 1)} {share:.0%}"
        for row, share in sorted(shares.items())
    ]


def _requests(series: dict[str, Any]) -> str:
    """How many there were, and how many of them were measured, if not all."""
    requests, measured = series["requests"], series["measured"]
    return f"{requests} requests" + (f" ({measured} of them measured)" if measured < requests else "")


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} ms"
