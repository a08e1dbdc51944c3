"""Sizes and durations as people write them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.config import parse_duration, parse_size

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (90, 90.0),
        (0.25, 0.25),
        ("90", 90.0),
        ("90 s", 90.0),
        ("500ms", 0.5),
        ("20 min", 1200.0),
        ("1 h 30 min", 5400.0),
        ("1.5 hours", 5400.0),
        (" 2 days ", 172800.0),
        ("1h30m", 5400.0),
    ],
)
def test_a_duration_is_a_number_or_a_text_with_units(written: float | str, seconds: float) -> None:
    assert parse_duration(written) == seconds


@pytest.mark.parametrize(
    "written",
    ["", "soon", "20 minuts", "-5", "1e3", "5 5", "min", "1 h 30", math.inf, math.nan, True, None, [], "٣ s"],
)
def test_what_is_no_duration_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="must be seconds as a number"):
        parse_duration(written)


@pytest.mark.parametrize(
    ("written", "size"),
    [
        (0, 0),
        ("512", 512),
        ("10 B", 10),
        ("256 MiB", 256 * 2**20),
        ("1.5GiB", 3 * 2**29),
        ("10 GB", 10**10),
        ("0.1 kB", 100),
    ],
)
def test_a_size_is_a_whole_number_or_a_text_with_units(written: int | str, size: int) -> None:
    assert parse_size(written) == size


@pytest.mark.parametrize("written", ["", "1.5", "1.5 B", "256 M", "mib", "-1", 1.5, True, None, {}])
def test_what_is_no_size_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="must be bytes as a whole number"):
        parse_size(written)


def outcome_of(parse: Callable[[str], float], text: str) -> float | str:
    try:
        return parse(text)
    except ValueError as error:
        return str(error)


@given(st.text())
def test_no_text_makes_the_parsers_fail_otherwise(text: str) -> None:
    for parse in (parse_duration, parse_size):
        outcome = outcome_of(parse, text)
        assert "must be" in outcome if isinstance(outcome, str) else outcome >= 0


@given(st.integers(0, 2**62))
def test_a_size_keeps_every_byte(size: int) -> None:
    assert parse_size(str(size)[:18]) == int(str(size)[:18])
    assert parse_size(size) == size
