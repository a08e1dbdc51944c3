"""What users ask for, and what operators allow."""

from __future__ import annotations

import pytest

from kedge.contracts.compute import Limits


@pytest.mark.parametrize(
    ("asked", "allowed", "given"),
    [(None, None, None), (None, 7, 7), (5, None, 5), (5, 7, 5), (9, 7, 7), (0, 7, 7), (9, 0, 9)],
)
def test_nobody_gets_more_than_is_allowed(asked: int | None, allowed: int | None, given: int | None) -> None:
    """0 asks for nothing: to engines it means that there is no limit."""
    fields = ("memory_bytes", "processes", "cpus", "disk_bytes", "open_files")
    asking, most = (Limits(**dict.fromkeys(fields, limit)) for limit in (asked, allowed))

    got = asking.within(most)

    assert {*vars(got).values()} == {given}
    assert got.within(most) == got
