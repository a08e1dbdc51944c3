"""`with_log_tags` as a decorator: sources, methods, sync and async."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import pytest

from kedge_tagged import get_logger, get_tags, with_log_tags

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.plugins.tagged.conftest import Lines


class Shop:
    def __init__(self, lines: Lines) -> None:
        self.log = get_logger(target=lines)

    @with_log_tags
    async def sell(self) -> str:
        self.charge()
        return "sold"

    @with_log_tags(step="payment")
    def charge(self) -> None:
        self.log.info("charged")

    @with_log_tags("till")
    def open(self) -> None:
        self.log.info("open")
        self.charge()

    @classmethod
    @with_log_tags
    def build(cls, lines: Lines) -> None:
        get_logger(target=lines).info("built")

    @staticmethod
    @with_log_tags
    def price(lines: Lines) -> None:
        get_logger(target=lines).info("priced")


class Harbour(Shop):
    pass


def test_bare_it_takes_the_name_of_the_class_as_source(lines: Lines) -> None:
    Shop(lines).charge()
    assert lines.tags == {
        "source": "Shop",
        "step": "payment",
        "$logger.method": "charge",
        "$logger.rootMethod": "charge",
    }


def test_of_a_subclass_it_takes_the_name_of_what_it_was_called_on(lines: Lines) -> None:
    Harbour(lines).charge()
    assert lines.tags["source"] == "Harbour"


def test_a_class_method_has_the_class_as_source(lines: Lines) -> None:
    Harbour.build(lines)
    assert lines.tags["source"] == "Harbour"


def test_a_static_method_has_no_source_of_its_own(lines: Lines) -> None:
    Shop.price(lines)
    assert "source" not in lines.tags


async def test_the_first_method_of_a_chain_is_the_root(lines: Lines) -> None:
    assert await Shop(lines).sell() == "sold"
    assert lines.tags["$logger.method"] == "charge"
    assert lines.tags["$logger.rootMethod"] == "sell"
    assert get_tags() == {}


def test_a_given_source_wins_over_the_context_and_that_over_the_class(lines: Lines) -> None:
    with with_log_tags("context"):
        Shop(lines).charge()
        assert lines.tags["source"] == "context"
        Shop(lines).open()
    assert [record["tags"]["source"] for record in lines.records] == ["context", "till", "till"]


def test_a_function_has_a_method_name_and_only_a_given_source(lines: Lines) -> None:
    @with_log_tags
    def bare() -> None:
        get_logger(target=lines).info("x")

    @with_log_tags("given", order=1)
    def named() -> None:
        get_logger(target=lines).info("x")

    bare()
    assert lines.tags == {"$logger.method": "bare", "$logger.rootMethod": "bare"}
    named()
    assert lines.tags["source"] == "given"
    assert lines.tags["order"] == 1


async def test_an_async_function_stays_async_and_keeps_its_name() -> None:
    @with_log_tags(order=1)
    async def work(number: int) -> dict[str, Any]:
        """Works."""
        return {"number": number, **get_tags()}

    assert inspect.iscoroutinefunction(work)
    assert (work.__name__, work.__doc__) == ("work", "Works.")
    assert await work(2) == {"number": 2, "order": 1}


def test_an_error_passes_through_and_ends_the_context() -> None:
    @with_log_tags(order=1)
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert get_tags() == {}


def test_a_function_may_call_itself(lines: Lines) -> None:
    @with_log_tags(order=1)
    def count(left: int) -> int:
        return 0 if left == 0 else 1 + count(left - 1)

    assert count(20) == 20
    assert get_tags() == {}


def test_classes_are_refused() -> None:
    with pytest.raises(TypeError, match="functions and methods"):
        with_log_tags("source")(Shop)
    with pytest.raises(TypeError, match="functions and methods"):
        with_log_tags(Shop)


def test_above_classmethod_it_is_refused() -> None:
    above: Any = classmethod(lambda cls: None)
    with pytest.raises(TypeError, match="below @classmethod"):
        with_log_tags(above)


def test_generators_are_refused_because_their_body_runs_elsewhere() -> None:
    def numbers() -> Iterator[int]:
        yield 1

    async def async_numbers() -> AsyncIterator[int]:
        yield 1

    for generator in (numbers, async_numbers):
        with pytest.raises(TypeError, match="generator"):
            with_log_tags("source")(generator)
