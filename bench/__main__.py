"""Run all measurements, or those named: `python -m bench [start] [throughput] …`."""

from __future__ import annotations

import sys
from pathlib import Path

from bench import blobs, cache, deploys, docker, gateway, logs, measuring, placement, start, throughput
from bench.figures import as_table, save

MEASUREMENTS = {
    "start": start.measure,
    "throughput": throughput.measure,
    "throughput-postgresql": throughput.measure_postgresql,
    "logs": logs.measure,
    "placement": placement.measure,
    "gateway": gateway.measure,
    "deploys": deploys.measure,
    "measuring": measuring.measure,
    "blobs": blobs.measure,
    "cache": cache.measure,
    "docker": docker.measure,
}


def main() -> None:
    """Measure, print the table, keep it under bench/results."""
    names = sys.argv[1:] or list(MEASUREMENTS)
    figures = []
    for name in names:
        print(f"measuring {name} …", file=sys.stderr)
        figures += MEASUREMENTS[name]()
    save(figures, Path(__file__).parent / "results")
    print(as_table(figures))


if __name__ == "__main__":
    main()
