"""Errors as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from kedge_tagged import get_logger
from kedge_tagged.errors import describe_error

if TYPE_CHECKING:
    from tests.plugins.tagged.conftest import Lines


class Refused(Exception):
    def __init__(self, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.__dict__.update(fields)


def pay() -> None:
    raise Refused("card refused")


def test_an_error_is_written_with_its_stack(lines: Lines) -> None:
    try:
        pay()
    except Refused as error:
        get_logger(target=lines).error("cannot pay:", error)
    message = lines.last["message"]
    assert message.startswith("cannot pay: Traceback")
    assert "in pay" in message
    assert message.endswith("Refused: card refused")


def test_exception_writes_the_error_being_handled(lines: Lines) -> None:
    try:
        pay()
    except Refused:
        get_logger(target=lines).exception("cannot pay")
    assert lines.last["level"] == "error"
    assert lines.last["message"].endswith("Refused: card refused")


def test_exception_without_an_error_writes_the_message_alone(lines: Lines) -> None:
    get_logger(target=lines).exception("cannot pay")
    assert lines.last["message"] == "cannot pay"


def test_attributes_are_written_as_fields_but_private_ones_are_not() -> None:
    text = describe_error(Refused("no", code=7, _hidden=1))
    assert '[fields]: {"code": 7}' in text
    assert "_hidden" not in text


def test_causes_are_written_one_within_the_other() -> None:
    first, second, third = Refused("first"), Refused("second", code=2), Refused("third")
    first.__cause__, second.__context__ = second, third
    lines = describe_error(first).splitlines()
    assert lines[0].endswith("Refused: first")
    assert lines[1].startswith("[cause]: ")
    assert lines[1].endswith("second")
    assert lines[2] == '  [fields]: {"code": 2}'
    assert lines[3].startswith("  [cause]: ")
    assert lines[3].endswith("third")


def test_a_context_that_was_silenced_is_not_a_cause() -> None:
    error = Refused("second")
    error.__context__ = Refused("first")
    assert "[cause]" in describe_error(error)
    error.__suppress_context__ = True
    assert "[cause]" not in describe_error(error)


def test_a_circle_of_causes_ends() -> None:
    one, two = Refused("one"), Refused("two")
    one.__cause__, two.__cause__ = two, one
    assert describe_error(one).splitlines()[-1] == "  [cause]: [unserializable object]"


def test_fields_with_a_circle_are_named_as_such() -> None:
    error = Refused("no")
    error.__dict__["me"] = circle = []  # type: ignore[var-annotated]
    circle.append(circle)
    assert "[fields]: [unserializable object]" in describe_error(error)


def test_all_errors_of_a_group_and_its_cause_are_written() -> None:
    group = ExceptionGroup("both", [Refused("left", side="l"), Refused("right", side="r")])
    group.__cause__ = Refused("reason", why=1)
    text = describe_error(group)
    assert '{"side": "l"}' in text
    assert '{"side": "r"}' in text
    assert '{"why": 1}' in text


@given(st.integers(min_value=1, max_value=60))
def test_a_chain_of_any_length_is_written_in_bounded_depth(length: int) -> None:
    first = error = Refused("0", number=0)
    for number in range(1, length):
        error.__cause__ = Refused(str(number), number=number)
        error = error.__cause__
    assert describe_error(first).count("[fields]") == min(length, 17)
