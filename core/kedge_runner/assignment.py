"""What compute tells a runner that it starts: which attempt is its own, and where Kedge is."""

from __future__ import annotations

import os
import sys

from kedge_runner.jsontext import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: where compute can give nothing but an environment
VARIABLE = "KEDGE_ASSIGNMENT"


def read_assignment(arguments: list[str]) -> dict[str, Any] | None:
    """One line of JSON: from the file that is named, from the environment, or else from standard input.

    None if standard input ends without one: whoever kept this runner waiting has no use for it.
    """
    if arguments:
        with open(arguments[0], encoding="utf-8") as file:
            line = file.readline()
    else:
        line = os.environ.pop(VARIABLE, "") or sys.stdin.readline()
    if not line.strip():
        return None
    assignment: dict[str, Any] = loads(line)
    os.makedirs(assignment["workspace"], exist_ok=True)
    return assignment
