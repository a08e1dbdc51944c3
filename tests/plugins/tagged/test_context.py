"""Contexts: what they inherit, what they keep to themselves."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

import pytest

from kedge_tagged import get_logger, get_tags, set_log_level, set_tags, with_log_tags

if TYPE_CHECKING:
    from tests.plugins.tagged.conftest import Lines


def test_without_a_context_tags_and_levels_are_not_kept() -> None:
    set_tags(order=1)
    set_log_level("error")
    assert get_tags() == {}


def test_set_tags_merges_copies() -> None:
    items = ["anchor"]
    with with_log_tags(tenant="acme"):
        set_tags(items=items, order=1)
        set_tags(order=2)
        items.append("rope")
        assert get_tags() == {"tenant": "acme", "items": ["anchor"], "order": 2}
    assert get_tags() == {}


def test_what_get_tags_returned_may_be_changed_without_harm() -> None:
    with with_log_tags(items=["anchor"]):
        tags = get_tags()
        tags["items"].append("rope")
        tags["order"] = 1
        assert get_tags() == {"items": ["anchor"]}


def test_a_child_starts_with_its_parents_tags_and_gives_nothing_back() -> None:
    with with_log_tags(tenant="acme", step="outer"):
        with with_log_tags(step="inner"):
            set_tags(order=1)
            assert get_tags() == {"tenant": "acme", "step": "inner", "order": 1}
        assert get_tags() == {"tenant": "acme", "step": "outer"}


async def test_a_running_child_does_not_see_what_its_parent_sets_later() -> None:
    begun, parent_set = asyncio.Event(), asyncio.Event()

    @with_log_tags(child=True)
    async def child() -> dict[str, Any]:
        begun.set()
        await parent_set.wait()
        return get_tags()

    with with_log_tags(tenant="acme"):
        task = asyncio.create_task(child())
        await begun.wait()
        set_tags(late=True)
        parent_set.set()
        assert await task == {"tenant": "acme", "child": True}


async def test_tasks_do_not_see_each_others_tags() -> None:
    barrier = asyncio.Barrier(8)

    async def work(number: int) -> dict[str, Any]:
        set_tags(task=number, **{f"only_{number}": True})
        await barrier.wait()
        return get_tags()

    with with_log_tags(tenant="acme"):
        seen = await asyncio.gather(*(work(number) for number in range(8)))
        assert get_tags() == {"tenant": "acme"}
    assert seen == [{"tenant": "acme", "task": n, f"only_{n}": True} for n in range(8)]


def test_threads_do_not_see_each_others_tags() -> None:
    barrier = threading.Barrier(4, timeout=30)

    def work(number: int) -> dict[str, Any]:
        with with_log_tags(thread=number):
            barrier.wait()
            return get_tags()

    with with_log_tags(tenant="acme"), ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(4))) == [{"thread": number} for number in range(4)]


def test_a_thread_that_is_given_a_context_has_its_tags_and_gives_none_back() -> None:
    def work() -> dict[str, Any]:
        set_tags(thread=1)
        return get_tags()

    with with_log_tags(tenant="acme"), ThreadPoolExecutor(1) as pool:
        assert pool.submit(copy_context().run, work).result() == {"tenant": "acme", "thread": 1}
        assert get_tags() == {"tenant": "acme"}


def test_a_context_ends_even_if_its_block_fails() -> None:
    with pytest.raises(ZeroDivisionError), with_log_tags(tenant="acme"):
        raise ZeroDivisionError
    assert get_tags() == {}


def test_a_childs_level_does_not_reach_its_parent(lines: Lines) -> None:
    log = get_logger(target=lines)
    with with_log_tags():
        with with_log_tags():
            set_log_level("error")
            log.info("held back")
        log.info("written")
    assert [record["message"] for record in lines.records] == ["written"]


def test_an_inner_context_inherits_the_source_unless_it_names_its_own(lines: Lines) -> None:
    log = get_logger(target=lines)
    with with_log_tags("outer"):
        with with_log_tags():
            log.info("x")
            assert lines.tags["source"] == "outer"
        with with_log_tags("inner"):
            log.info("x")
            assert lines.tags["source"] == "inner"
        get_logger("given", target=lines).info("x")
        assert lines.tags["source"] == "given"
