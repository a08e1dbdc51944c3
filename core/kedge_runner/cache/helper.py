"""The process that saves or restores units, apart from the runner: it may fail, and it can be ended."""

from __future__ import annotations

import os
import sys
from functools import partial

from kedge_runner.cache.errors import CacheFailed, reason_of
from kedge_runner.cache.kedge import Kedge
from kedge_runner.cache.unit import Unit
from kedge_runner.errors import Refused
from kedge_runner.jsontext import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> None:
    """Do what standard input says, one line for each unit; errors are told and end nothing."""
    plan = loads(sys.stdin.read())
    # rights come from archives and are set as files are made
    os.umask(0 if plan["hits"] else 0o077)
    kedge = Kedge(plan["endpoint"], plan["token"], plan["prefix"])
    workspace = str(plan["workspace"])
    hits = plan["hits"] or [None] * len(plan["units"])
    for data, hit in zip(plan["units"], hits, strict=True):
        unit = Unit(**data)
        # imported as needed: most saves find nothing to do, and imports would be a third of what they cost
        if hit is None:
            from kedge_runner.cache.saving import save

            _tell(unit, "not saved", partial(save, kedge, unit, workspace))
        else:
            from kedge_runner.cache.restoring import restore

            _tell(unit, "miss", partial(restore, kedge, unit, hit, workspace))


def _tell(unit: Unit, failed: str, work: Callable[[], str]) -> None:
    try:
        said = work()
    except (CacheFailed, Refused, OSError, ValueError) as error:
        said = f"{failed}: {reason_of(error)}"
    print(f"Cache {unit.name}: {said}", flush=True)
