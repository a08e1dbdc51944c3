"""Keeps what a build printed from driving the terminal of whoever reads it."""

from __future__ import annotations

import re

#: colours (SGR) may stay; every other escape sequence and control character goes
HARMFUL = re.compile(
    r"\x1b\[(?![0-9;:]*m)[0-?]*[ -/]*[@-~]"  # CSI that is not SGR
    r"|\x1b[\]PX^_].*?(?:\x07|\x1b\\|$)"  # OSC, DCS, SOS, PM, APC with their text
    r"|\x1b(?!\[)[ -/]*[0-~]?"  # other escapes
    r"|[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f\x80-\x9f]",
    re.DOTALL,
)
ANY_ESCAPE = re.compile(r"\x1b\[[0-9;:]*m")


def make_safe(text: str, *, colour: bool) -> str:
    """`text` with nothing left that could move the cursor, set a title or reach the clipboard."""
    safe = HARMFUL.sub("", text)
    return safe if colour else ANY_ESCAPE.sub("", safe)
