"""The histogram of how long requests took, placed and not placed, as a picture."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from kedge.cli.failure import CommandFailed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

#: from one edge of a bar to the next: the sketches tell durations that differ by less apart no more
STEP = 1.05 / 0.95
COLOURS = {True: "#0a7d4f", False: "#b4532a"}
NAMES = {True: "placed", False: "not placed"}


def save_plot(path: Path, title: str, series: Sequence[Mapping[str, Any]]) -> None:
    """Draw the series as the API gives them into a file; its ending, `.svg` or `.png`, tells how.

    Raises `CommandFailed` if matplotlib is not there, or the file cannot be written.
    """
    try:
        from matplotlib import rc_context  # noqa: PLC0415  (takes a third of a second)
        from matplotlib.figure import Figure  # noqa: PLC0415
        from matplotlib.ticker import LogLocator, NullLocator  # noqa: PLC0415
    except ImportError as error:
        raise CommandFailed(
            "pictures are drawn by matplotlib, which is not installed: pip install 'kedge[plots]'. "
            "Without --svg and --png the histogram is drawn in the terminal."
        ) from error
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    edges = _edges(series)
    for one in series:
        _draw(axes, one, edges)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_title(title)
    axes.set_xlabel("duration of a request, milliseconds")
    axes.set_ylabel("% of requests")
    axes.legend()
    try:
        # text stays text: it can be searched, and read aloud
        with rc_context({"svg.fonttype": "none", "svg.hashsalt": "kedge"}):
            figure.savefig(path, dpi=150)
    except OSError as error:
        raise CommandFailed(f"cannot write {path}: {error.strerror}") from error


def _edges(series: Sequence[Mapping[str, Any]]) -> list[float]:
    """Of bars that all series share, each a step of the same ratio."""
    durations = [max(bar["ms"], 0.01) for one in series for bar in one["histogram"]]
    least = min(durations) / math.sqrt(STEP)
    bars = math.floor(math.log(max(durations) / least, STEP)) + 1
    return [least * STEP**number for number in range(bars + 1)]


def _draw(axes: Axes, one: Mapping[str, Any], edges: Sequence[float]) -> None:
    heights = [0.0] * (len(edges) - 1)
    for bar in one["histogram"]:
        found = int(math.log(max(bar["ms"], 0.01) / edges[0], STEP))
        heights[min(found, len(heights) - 1)] += bar["share"] * 100
    colour, median = COLOURS[one["placed"]], one["quantiles_ms"]["p50"]
    label = f"{NAMES[one['placed']]}: {one['requests']} requests, median {median:.0f} ms"
    axes.stairs(heights, edges, fill=True, alpha=0.55, color=colour, label=label)
    axes.axvline(max(median, 0.01), color=colour, linestyle="--", linewidth=1)
