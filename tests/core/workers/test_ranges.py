from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.workers.ranges import Unsatisfiable, names_tag, parse_range

TAG = b'"abc"'


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"bytes=0-0", (0, 1)),
        (b"bytes=2-", (2, 10)),
        (b"bytes=-3", (7, 10)),
        (b"bytes=-30", (0, 10)),
        (b"bytes=5-99", (5, 10)),
        (b"bytes=5-" + b"9" * 50, (5, 10)),
        (b"bytes=5-" + b"9" * 5000, None),
        (b"Bytes = 1 - 2", (1, 3)),
        (b"bytes=0-1,3-4", None),
        (b"lines=1-2", None),
    ],
)
def test_a_range_of_ten_bytes_is_understood(header: bytes, expected: tuple[int, int] | None) -> None:
    assert parse_range(header, 10) == expected


@pytest.mark.parametrize(
    "header", [b"bytes=10-", b"bytes=-0", b"bytes=5-2", b"bytes=-", b"bytes=a-b", b"bytes", b"bytes=-1-2"]
)
def test_a_range_outside_of_ten_bytes_cannot_be_had(header: bytes) -> None:
    with pytest.raises(Unsatisfiable):
        parse_range(header, 10)


def test_an_empty_file_has_no_range() -> None:
    with pytest.raises(Unsatisfiable):
        parse_range(b"bytes=0-", 0)


@given(st.binary(max_size=30).map(lambda tail: b"bytes=" + tail), st.integers(0, 100))
def test_a_range_never_leaves_the_file(header: bytes, size: int) -> None:
    try:
        found = parse_range(header, size)
    except Unsatisfiable:
        return
    if found is not None:
        assert 0 <= found[0] < found[1] <= size


@pytest.mark.parametrize(
    "header", [b'"abc"', b'W/"abc"', b"*", b" * ", b'"x", "abc"', b'"x,y",W/"abc" , "z"']
)
def test_a_tag_is_recognised_in_a_list(header: bytes) -> None:
    assert names_tag(header, TAG)


@pytest.mark.parametrize("header", [b"", b"abc", b'"abcd"', b'"x"'])
def test_another_tag_is_not(header: bytes) -> None:
    assert not names_tag(header, TAG)


@pytest.mark.timeout(10)
@pytest.mark.parametrize("blank", [b" ", b"\t", b'"', b",", b"W/", b'"",', b"0", b"-"])
def test_what_is_read_of_a_visitor_takes_time_in_line_with_its_length(blank: bytes) -> None:
    """What is quadratic takes an hour for this."""
    long = blank * 2**20
    assert not names_tag(b"a" + long + b"b", TAG)
    assert parse_range(b"bytes=1-" + long + b"x", 10) is None
