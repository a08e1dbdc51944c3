"""File descriptors of a fresh child: none but those it is meant to have."""

from __future__ import annotations

import os


def keep_only(*kept: int, stderr: int | None = None) -> None:
    """Close every descriptor but `kept`; input, output and (unless `stderr`) errors lead nowhere."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number, source in enumerate((nowhere, nowhere, nowhere if stderr is None else stderr)):
        os.dup2(source, number)
    below = 3
    for fd in sorted(kept):
        os.closerange(below, fd)
        below = fd + 1
    os.closerange(below, os.sysconf("SC_OPEN_MAX"))
