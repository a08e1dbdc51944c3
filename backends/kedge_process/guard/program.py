"""Turns a waiting runner into the program of an instance."""

from __future__ import annotations

import os
import shutil
import signal
import sys

from .messages import MARKER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: what Python ignores and what programs expect to end them
IGNORED = (signal.SIGPIPE, signal.SIGXFSZ)


def run(assignment: dict[str, Any]) -> int:
    """Become `arguments` with `environment` and the output `output`. Returns only if it cannot."""
    output = os.open(assignment["output"], os.O_WRONLY)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    for number in IGNORED:
        signal.signal(number, signal.SIG_DFL)
    environment = {**os.environ, **assignment["environment"], MARKER: os.environ[MARKER]}
    arguments = assignment["arguments"]
    os.chdir(assignment["directory"])
    program = shutil.which(arguments[0], path=environment.get("PATH"))
    if program is None:
        sys.stderr.write(f"kedge: there is no program {arguments[0]!r} on the PATH of this node\n")
        return 127
    try:
        os.execve(program, arguments, environment)  # noqa: S606  (no shell is wanted)
    except OSError as error:
        sys.stderr.write(f"kedge: {arguments[0]!r} cannot be run ({error.strerror})\n")
        return 126
