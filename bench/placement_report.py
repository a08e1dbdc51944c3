"""`make bench-placement`: the article's experiment and a thousand simulated worlds, as a report with plots.

Writes the part of docs/explanation/placement.md between the two marks, and the pictures beside it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from bench.figures import as_table, p95
from bench.placement import figures
from bench.placement_runs import run
from bench.simulated_worlds import WORLDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.simulated_worlds import Outcome

PAGE = Path(__file__).parents[1] / "docs" / "explanation" / "placement.md"
BEGIN, END = "<!-- bench-placement -->", "<!-- /bench-placement -->"
PLACED, UNPLACED = "#0a7d4f", "#b4532a"


def main() -> None:
    """Measure, and write the report."""
    command = [sys.executable, "-m", "kedge", "demo", "--placement", "--json"]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    write_report(json.loads(said), run(range(WORLDS)))


def write_report(found: dict[str, Any], outcomes: Sequence[Outcome]) -> None:
    """Of what `kedge demo --placement --json` found, and of the simulated worlds."""
    draw_experiment(found, PAGE.with_name("placement-experiment.svg"))
    draw_regrets(outcomes, PAGE.with_name("placement-regret.svg"))
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text("\n\n".join([before + BEGIN, *_experiment(found), *_worlds(outcomes), END + after]))


def _experiment(found: dict[str, Any]) -> list[str]:
    unplaced, placed = found["median_unplaced_ms"], found["median_placed_ms"]
    rows = [
        ("requests, of which failed", f"{found['requests']}, {found['failed_requests']}"),
        ("median, not placed", f"{unplaced:.0f} ms"),
        (f"median, placed (in {found['location']})", f"{placed:.0f} ms"),
        ("faster by", f"{found['median_speedup']:.1f} times"),
        ("decided after", f"{found['decided_after_requests']} requests, {found['decided_after_s']} s"),
    ]
    rows += [
        (f"median, told to run in {name}", f"{ms:.0f} ms")
        for name, ms in found["median_ms_by_location"].items()
    ]
    table = ["| | |", "|---|---:|", *(f"| {name} | {value} |" for name, value in rows)]
    picture = "![Medians by location, and of requests that were placed](placement-experiment.svg)"
    return ["\n".join(table), picture]


def _worlds(outcomes: Sequence[Outcome]) -> list[str]:
    stories: dict[str, list[Outcome]] = defaultdict(list)
    for one in outcomes:
        stories[one.story].append(one)
    head = ["| story | worlds | regret, mean | p95 | worst | not placed |", "|---|---:|---:|---:|---:|---:|"]
    rows = [
        f"| {story} | {len(those)} | {mean(one.regret for one in those):.2%} "
        f"| {p95([one.regret for one in those]):.1%} | {max(one.regret for one in those):.1%} "
        f"| {mean(one.unplaced for one in those):.0%} |"
        for story, those in sorted(stories.items(), key=lambda item: -len(item[1]))
    ]
    picture = "![How many worlds have at most which regret](placement-regret.svg)"
    return [as_table(figures(list(outcomes))), "\n".join(head + rows), picture]


def draw_experiment(found: dict[str, Any], path: Path) -> None:
    """The medians as bars."""
    medians = {f"told to run in {name}": ms for name, ms in found["median_ms_by_location"].items()}
    bars = {
        "not placed": found["median_unplaced_ms"],
        "placed": found["median_placed_ms"],
        **medians,
    }
    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.add_subplot()
    colours = [UNPLACED, PLACED, *["#8a8f98"] * len(medians)]
    drawn = axes.barh(list(bars), list(bars.values()), color=colours)
    axes.bar_label(drawn, fmt="%.0f ms", padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel("median duration of a request, milliseconds")
    _save(figure, path)


def draw_regrets(outcomes: Sequence[Outcome], path: Path) -> None:
    """How many of the worlds have at most which regret, placed and not."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.add_subplot()
    shares = [(number + 1) / len(outcomes) * 100 for number in range(len(outcomes))]
    least = 0.01
    for name, colour, regrets in (
        ("placed", PLACED, [one.regret for one in outcomes]),
        ("left where they come in", UNPLACED, [one.unplaced for one in outcomes]),
    ):
        axes.step([max(regret * 100, least) for regret in sorted(regrets)], shares, color=colour, label=name)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("regret, % (0.01 and less at the left edge)")
    axes.set_ylabel("% of worlds")
    axes.legend()
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    # the same figures give the same file
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "kedge"}):
        figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
