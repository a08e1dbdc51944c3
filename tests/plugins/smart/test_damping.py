"""Moves make the next one harder, for a while."""

from __future__ import annotations

import pytest

from kedge_smart.damping import HALF_LIFE, Damping


def test_what_never_moved_is_free_to() -> None:
    assert Damping().times(1e6) == 1.0


def test_each_move_doubles_what_the_next_has_to_gain() -> None:
    damping = Damping()
    damping.add(100.0)
    damping.add(100.0)

    assert damping.times(100.0) == pytest.approx(4.0)


def test_moves_are_forgotten_by_half_and_half() -> None:
    damping = Damping()
    damping.add(0.0)

    assert damping.moves(HALF_LIFE) == pytest.approx(0.5)
    assert damping.times(20 * HALF_LIFE) == pytest.approx(1.0, abs=1e-5)


def test_a_clock_that_goes_back_forgets_nothing() -> None:
    damping = Damping()
    damping.add(1000.0)

    assert damping.moves(0.0) == 1.0
