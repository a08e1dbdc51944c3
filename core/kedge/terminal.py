"""Keeps text of others from driving the terminal of whoever reads it."""

from __future__ import annotations

import re

#: what stands for a byte that is no UTF-8 (half a character) would be written as that byte again, and what
#: turns the direction of text around shows it in another order than it has
_HARMLESS = r"[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
#: SGR; longer ones are none that a terminal reads
_COLOUR = r"\x1b\[[0-9;:]{0,64}+m"
_CSI = r"(?:\x1b\[|\x9b)[ -?]{0,64}+"
#: what takes text of its own, up to a terminator: OSC, DCS, SOS, PM, APC
_STRING = r"(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])"
_STRING_TEXT = r"[^\x00-\x1f\x7f-\x9f]*+"
_ESCAPE = r"\x1b[ -/]{0,4}+"
#: one of the three that goes on in the next piece
_UNFINISHED = re.compile(
    rf"(?=[\x1b\x90\x98\x9b\x9d-\x9f])(?:({_STRING}){_STRING_TEXT}(\x1b?)|{_CSI}|{_ESCAPE})\Z"
)


def _tokens(passes: str) -> re.Pattern[str]:
    """Takes every character: group 1 are runs of what `passes`, the rest is to be dropped."""
    dropped = rf"{_CSI}[@-~]?|{_STRING}{_STRING_TEXT}(?:\x07|\x9c|\x1b\\)?|{_ESCAPE}[0-~]?|."
    return re.compile(rf"((?:{passes})++)|(?:(?!(?:{passes}))(?:{dropped}))++", re.DOTALL)


_PLAIN = _tokens(_HARMLESS)
_COLOURED = _tokens(rf"{_HARMLESS}++|{_COLOUR}")
_RESET = "\x1b[0m"


class TerminalFilter:
    """A stream on its way to a terminal.

    Text, tabs and line ends pass, and colours if they are wanted. No other escape sequence and no other
    control character does, nor any that turns text around, however the stream is cut into pieces. Holds back
    a few characters at most.
    """

    def __init__(self, *, colour: bool) -> None:
        """With `colour` the sequences that set colours and the like (SGR) pass, whole."""
        self._tokens = _COLOURED if colour else _PLAIN
        self._begun = ""
        self._coloured = False

    def feed(self, text: str) -> str:
        """What of the next piece can be written to the terminal."""
        text = self._begun + text
        self._begun = ""
        if unfinished := _UNFINISHED.search(text, text.rfind("\n") + 1):
            # the text of a string is dropped anyway: no need to keep it
            self._begun = f"{unfinished[1]}{unfinished[2]}" if unfinished[1] else unfinished[0]
            text = text[: unfinished.start()]
        safe = self._tokens.sub(r"\1", text)
        last = safe.rfind("\x1b[")
        if last >= 0:
            self._coloured = not safe.startswith((_RESET, "\x1b[m"), last)
        return safe

    def end(self) -> str:
        """What makes the terminal's colours its own again, after the last piece."""
        self._begun = ""
        return _RESET if self._coloured else ""


def make_safe(message: str) -> str:
    """A whole message as plain text: without colours, and nothing in it is written over."""
    return TerminalFilter(colour=False).feed(message).replace("\r", "")
