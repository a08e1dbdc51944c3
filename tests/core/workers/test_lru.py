from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kedge.workers.lru import Lru


def test_what_was_used_least_recently_goes_first() -> None:
    cache: Lru[str, int] = Lru(2)
    cache.put("a", 1)
    cache.put("b", 2)
    assert cache.get("a") == 1
    cache.put("c", 3)

    assert list(cache) == ["a", "c"]
    assert cache.get("b") is None


def test_a_value_larger_than_all_the_room_displaces_the_others_and_stays_until_the_next() -> None:
    cache: Lru[str, int] = Lru(10)
    cache.put("small", 1, cost=1)
    cache.put("huge", 2, cost=100)
    assert list(cache) == ["huge"]
    cache.put("small", 1, cost=1)

    assert list(cache) == ["small"]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 12), st.booleans())))
def test_all_together_never_cost_more_than_the_room(steps: list[tuple[int, int, bool]]) -> None:
    cache: Lru[int, int] = Lru(10)
    for key, cost, drop in steps:
        if drop:
            cache.drop(key)
        else:
            cache.put(key, cost, cost=cost)
        kept = [cache.get(key) or 0 for key in list(cache)]
        assert sum(kept) <= 10 or len(kept) == 1
