"""What a measurement yields, and how it is shown."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured figure. `target` is what we want; `at_least` tells in which direction."""

    name: str
    value: float
    unit: str
    target: float | None = None
    at_least: bool = False
    baseline: float | None = None
    baseline_name: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is met, if there is one."""
        if self.target is None:
            return None
        return self.value >= self.target if self.at_least else self.value <= self.target

    @property
    def ratio(self) -> float | None:
        """The figure as a multiple of its baseline."""
        return None if not self.baseline else self.value / self.baseline


def p50(values: Sequence[float]) -> float:
    """The median."""
    return statistics.median(values)


def p95(values: Sequence[float]) -> float:
    """The value that 95 of 100 do not exceed."""
    return sorted(values)[min(int(len(values) * 0.95), len(values) - 1)]


def as_table(figures: Sequence[Figure]) -> str:
    """The figures as a Markdown table."""
    rows = ["| figure | value | target | raw baseline | ratio |", "|---|---:|---:|---|---:|"]
    for figure in figures:
        sign = "≥" if figure.at_least else "≤"
        target = "" if figure.target is None else f"{sign} {figure.target:g} {figure.unit}"
        verdict = {None: "", True: " ✓", False: " ✗"}[figure.met]
        baseline = (
            "" if figure.baseline is None else f"{figure.baseline:.3g} {figure.unit}, {figure.baseline_name}"
        )
        ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
        rows.append(
            f"| {figure.name} | {figure.value:.3g} {figure.unit}{verdict} | {target} | {baseline} | {ratio} |"
        )
    return "\n".join(rows)


def save(figures: Sequence[Figure], folder: Path) -> None:
    """Write the figures as JSON and as a table."""
    folder.mkdir(parents=True, exist_ok=True)
    values = [asdict(figure) | {"met": figure.met, "ratio": figure.ratio} for figure in figures]
    (folder / "latest.json").write_text(json.dumps(values, indent=2) + "\n")
    (folder / "latest.md").write_text(as_table(figures) + "\n")
