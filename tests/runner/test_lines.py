"""Lines without end."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from kedge_runner.lines import LONGEST, LineCap

#: halves of characters are among the pieces
texts = st.lists(
    st.sampled_from([b"a", b"bcd", b"\n", b"\r", "é".encode(), "€😀".encode(), b"\xc3", b"\x80"])
)


def capped(longest: int, *parts: bytes) -> bytes:
    cap = LineCap(longest)
    return b"".join(map(cap.feed, parts)) + cap.finish()


def model(longest: int, text: bytes) -> bytes:
    """Byte for byte: a line may end with the character that its limit lies in."""
    shown, length, left_out = b"", 0, 0
    for byte in text:
        if byte in b"\r\n":
            shown += (marker(left_out) if left_out else b"") + bytes([byte])
            length = left_out = 0
        elif not left_out and length < longest + (3 if 0x80 <= byte < 0xC0 else 0):
            shown += bytes([byte])
            length += 1
        else:
            left_out += 1
    return shown + (marker(left_out) if left_out else b"")


def marker(left_out: int) -> bytes:
    return b" ... [line cut: %d bytes left out]" % left_out


@given(texts, st.integers(1, 8), st.lists(st.integers(0, 100), max_size=8))
def test_lines_are_cut_at_the_same_place_however_they_come(
    pieces: list[bytes], longest: int, cuts: list[int]
) -> None:
    text = b"".join(pieces)
    edges = [0, *sorted(place % (len(text) + 1) for place in cuts), len(text)]
    parts = [text[start:end] for start, end in pairwise(edges)]

    assert capped(longest, *parts) == model(longest, text)


def test_a_line_of_a_mebibyte_is_whole_and_one_byte_more_is_left_out() -> None:
    whole = b"a" * LONGEST + b"\n"

    assert capped(LONGEST, whole, whole) == whole * 2
    assert capped(LONGEST, b"a" + whole, b"b\n") == b"a" * LONGEST + marker(1) + b"\nb\n"


def test_an_endless_line_says_in_the_end_how_much_was_left_out() -> None:
    block = b"x" * 300_000

    shown = capped(LONGEST, *[block] * 20)

    assert shown == b"x" * LONGEST + marker(20 * len(block) - LONGEST)


def test_a_progress_bar_is_no_long_line() -> None:
    bar = b"".join(b"\r%d %%" % percent for percent in range(100)) * 3000

    assert len(bar) > LONGEST
    assert capped(LONGEST, bar) == bar


def test_a_character_is_not_cut_in_two() -> None:
    assert capped(4, "abc€def\n".encode()).decode() == "abc€" + marker(3).decode() + "\n"
