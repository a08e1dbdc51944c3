"""What compute tells a runner that it starts: which attempt is its own, and where Kedge is."""

from __future__ import annotations

import os
import sys

from kedge_runner.jsontext import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: where compute can give nothing but an environment: the assignment, or the file that holds it
VARIABLE = "KEDGE_ASSIGNMENT"
FILE_VARIABLE = "KEDGE_ASSIGNMENT_FILE"


def read_assignment() -> dict[str, Any] | None:
    """One line of JSON: from the environment, from the file that it names, or else from standard input.

    None if standard input ends without one: whoever kept this runner waiting has no use for it.
    """
    line, path = os.environ.pop(VARIABLE, ""), os.environ.pop(FILE_VARIABLE, "")
    if path:
        with open(path, encoding="utf-8") as file:
            line = file.readline()
    line = line or sys.stdin.readline()
    if not line.strip():
        return None
    assignment: dict[str, Any] = loads(line)
    os.makedirs(assignment["workspace"], exist_ok=True)
    return assignment
