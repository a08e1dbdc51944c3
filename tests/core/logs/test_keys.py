"""A log's key and its text are one and the same thing."""

from __future__ import annotations

import pytest

from kedge import LogKey


def test_what_a_key_is_written_as_is_read_as_that_key() -> None:
    key = LogKey(log_id="a-1", part=12)
    assert LogKey.read(str(key)) == key


@pytest.mark.parametrize("text", ["", "a", "a.", "a.-1", "a.01", "a.x", "a.\u0663", "a.1\n"])
def test_other_texts_are_no_keys(text: str) -> None:
    assert LogKey.read(text) is None
