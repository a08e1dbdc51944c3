"""Simulated worlds, run one after the other over hours, in pieces: what is done stays done.

`python -m bench.placement_runs` goes on where it was stopped; SIGSTOP and SIGCONT, or a kill, do no harm.
"""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import kedge.testing
import kedge_smart
from bench import simulated_worlds
from bench.simulated_worlds import WORLDS, Outcome, simulate_world

if TYPE_CHECKING:
    from collections.abc import Iterator

RESULTS = Path(__file__).parent / "results"
PROCESSES = int(os.environ.get("KEDGE_BENCH_PROCESSES", "1"))


def main() -> None:
    """Run the worlds that were not run yet with this code, and tell of each."""
    for outcome in _go_on(range(WORLDS), results_of_this_code()):
        print(f"{outcome.seed:4} {outcome.story:22} regret {outcome.regret:7.2%}", flush=True)


def run(seeds: range) -> list[Outcome]:
    """What came of these worlds with the code as it is; those that are not known are run first."""
    path = results_of_this_code()
    for _ in _go_on(seeds, path):
        pass
    return [outcome for seed, outcome in sorted(read(path).items()) if seed in seeds]


def results_of_this_code() -> Path:
    """The file of what was found with the policy and the simulator as they are now."""
    parts = (
        sorted(Path(kedge_smart.__file__).parent.glob("*.py")),
        sorted(Path(kedge.testing.__file__).parent.glob("simul*.py")),
        [Path(simulated_worlds.__file__)],
    )
    code = b"".join(path.read_bytes() for path in chain(*parts))
    return RESULTS / f"placement-{hashlib.sha256(code).hexdigest()[:12]}.jsonl"


def read(path: Path) -> dict[int, Outcome]:
    """What is known, by seed; a line that was cut short by a kill does not count."""
    lines = path.read_text().splitlines() if path.exists() else []
    found = [Outcome(**json.loads(line)) for line in lines if line.endswith("}")]
    return {outcome.seed: outcome for outcome in found}


def _go_on(seeds: range, path: Path) -> Iterator[Outcome]:
    """Run what is not known yet, each appended to the file as it is done."""
    path.parent.mkdir(exist_ok=True)
    missing = sorted(set(seeds) - read(path).keys())
    with (
        path.open("a") as file,
        ProcessPoolExecutor(PROCESSES, initializer=os.nice, initargs=(19,)) as pool,
    ):
        # a line that was cut short ends here
        file.write("\n" if path.stat().st_size else "")
        for outcome in pool.map(simulate_world, missing):
            file.write(json.dumps(asdict(outcome)) + "\n")
            file.flush()
            yield outcome


if __name__ == "__main__":
    main()
