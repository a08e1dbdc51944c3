"""Nothing but text and colours reaches a terminal."""

from __future__ import annotations

import re
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.terminal import TerminalFilter, make_safe

COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
TURNS = [*range(0x202A, 0x202F), *range(0x2066, 0x206A)]
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

INTRODUCERS = ["\x1b", "\x1b[", "\x9b", "\x1b]", "\x9d", "\x1bP", "\x90", "\x1b_", "\x1b^", "\x1bX", "\x1b("]
PARTS = [
    "\x07",
    "\x1b\\",
    "\x9c",
    "\x18",
    "\x00",
    "\x7f",
    "\n",
    "\r",
    "\t",
    "2J",
    "?1049h",
    "31m",
    "0m",
    ";",
    ":",
]
TEXT = st.lists(
    st.one_of(
        st.sampled_from(INTRODUCERS),
        st.sampled_from(PARTS),
        st.text(max_size=5),
        st.integers(0, 0x9F).map(chr),
        st.integers(0xD800, 0xDFFF).map(chr),
        st.sampled_from(TURNS).map(chr),
        st.integers(60, 70).map("1".__mul__),
    ),
    max_size=30,
).map("".join)
#: of a text, each as a number that is taken modulo its length
CUTS = st.lists(st.integers(0, 500), max_size=10)


def cut(text: str, cuts: list[int]) -> list[str]:
    places = sorted({0, len(text), *(one % (len(text) + 1) for one in cuts)})
    return [text[start:end] for start, end in pairwise(places)]


def passed(pieces: list[str], *, colour: bool) -> str:
    stream = TerminalFilter(colour=colour)
    return "".join(stream.feed(piece) for piece in pieces)


@given(TEXT, CUTS)
def test_no_sequence_but_colours_comes_out_whatever_goes_in_and_however_it_is_cut(
    text: str, cuts: list[int]
) -> None:
    out = passed(cut(text, cuts), colour=True)

    assert CONTROL.search(COLOUR.sub("", out)) is None


@given(TEXT, CUTS)
def test_without_colour_no_sequence_comes_out_at_all(text: str, cuts: list[int]) -> None:
    assert CONTROL.search(passed(cut(text, cuts), colour=False)) is None


@given(TEXT, CUTS, st.booleans())
def test_the_same_comes_out_however_it_is_cut(text: str, cuts: list[int], colour: bool) -> None:  # noqa: FBT001
    assert passed(cut(text, cuts), colour=colour) == passed([text], colour=colour)


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"])), CUTS)
def test_text_is_left_alone(text: str, cuts: list[int]) -> None:
    assert passed(cut(text, cuts), colour=True) == text


@given(TEXT, CUTS)
def test_a_stream_never_leaves_the_terminal_in_a_colour(text: str, cuts: list[int]) -> None:
    stream = TerminalFilter(colour=True)
    out = "".join(stream.feed(piece) for piece in cut(text, cuts)) + stream.end()

    colours = COLOUR.findall(out)
    assert not colours or colours[-1] in {"\x1b[0m", "\x1b[m"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[32mok\x1b[0m 10 %\r20 %\tdone\n", "\x1b[32mok\x1b[0m 10 %\r20 %\tdone\n"),
        ("\x1b[38:2::1:2:3;4mtrue colour", "\x1b[38:2::1:2:3;4mtrue colour"),
        ("clear\x1b[2J\x1b[?1049h.", "clear."),
        ("title\x1b]0;owned\x07.", "title."),
        ("clipboard\x1b]52;c;cm0gLXJm\x1b\\.", "clipboard."),
        ("image\x1b_Gf=100;" + "A" * 9000 + "\x1b\\.", "image."),
        ("charset\x1b(0lqk.", "charsetlqk."),
        ("eight bits\x9b2J\x9d0;owned\x9c.", "eight bits."),
        ("reset\x1bc.", "reset."),
        ("unfinished\x1b]0;a title\nthe next line", "unfinished\nthe next line"),
        ("a hole\x1b[\x002J.", "a hole2J."),
        ("a string that is broken off\x1b]0;a\x1b[31mred", "a string that is broken off\x1b[31mred"),
        ("half a character\udc9b2J", "half a character2J"),
    ],
)
def test_what_is_shown_of(text: str, shown: str) -> None:
    assert passed([text], colour=True) == shown
    assert passed(list(text), colour=True) == shown


def test_what_a_stream_ends_within_is_not_shown() -> None:
    assert passed(["before\x1b["], colour=True) == "before"


def test_of_a_message_no_part_is_written_over() -> None:
    assert make_safe("kedge: \x1b[31mfailed\x1b[0m\rkedge: fine\n") == "kedge: failedkedge: fine\n"


@pytest.mark.parametrize(
    "unit", ["\x1b]", "\x1b[1", "\x9d", "\x1b[" + "1" * 60, "\x1b]a\x1b", "\x1b ", "\x1b]0;" + "a" * 1000]
)
def test_the_time_grows_with_the_length_and_not_faster(unit: str) -> None:
    def seconds(length: int) -> float:
        text = unit * (length // len(unit))
        began = time.process_time()
        passed([text], colour=True)
        return time.process_time() - began

    assert min(seconds(200_000) for _ in range(3)) < 20 * max(min(seconds(50_000) for _ in range(3)), 1e-3)


def test_a_string_without_end_is_not_kept() -> None:
    stream = TerminalFilter(colour=True)
    began = time.process_time()
    for _ in range(2_000):
        assert stream.feed("\x1b]" + "a" * 1000) == ""
    pieces = time.process_time() - began

    assert pieces < 2
    assert stream.feed("\x07.") == "."
