"""Shapes of heads: asked once, and few."""

from __future__ import annotations

from kedge.http.shape import LONGEST, MOST_SHAPES, Names, Shapes


def test_what_follows_from_the_names_is_worked_out_once() -> None:
    asked: list[Names] = []

    def count(names: Names) -> int:
        asked.append(names)
        return len(names)

    shapes = Shapes()
    assert [shapes[b"Host", b"ACCEPT"][count] for _ in range(3)] == [2, 2, 2]
    assert asked == [(b"host", b"accept")]
    assert shapes[b"Host", b"ACCEPT"].said == {b"host", b"accept"}


def test_names_that_visitors_make_up_take_little_room() -> None:
    shapes = Shapes()
    for number in range(3 * MOST_SHAPES):
        assert shapes[b"host", b"x-%d" % number].names == (b"host", b"x-%d" % number)
    assert len(shapes) <= MOST_SHAPES

    shapes.clear()
    assert shapes[(b"x" * (LONGEST + 1),)].names == (b"x" * (LONGEST + 1),)
    assert not shapes
