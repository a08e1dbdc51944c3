"""Which version of a split deployment a request gets."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from kedge.workers.shares import choose

HALVES = [("new", 50.0), ("old", 50.0)]
KEY = b"cloudflare-workers-version-key"
OVERRIDES = b"cloudflare-workers-version-overrides"


def by_key(shares: list[tuple[str, float]], keys: int = 2000) -> list[str]:
    return [shares[choose("shop", shares, {KEY: b"visitor-%d" % key})][0] for key in range(keys)]


def test_without_a_key_chance_decides_in_proportion() -> None:
    seen = Counter(choose("shop", [("new", 10.0), ("old", 90.0)], {}) for _ in range(4000))
    # eight standard deviations to either side
    assert 250 < seen[0] < 550


def test_a_key_gets_the_same_version_every_time() -> None:
    assert by_key(HALVES) == by_key(HALVES)
    assert 800 < by_key(HALVES).count("new") < 1200


def test_a_key_that_has_the_new_version_keeps_it_as_its_share_grows() -> None:
    steps = [by_key([("new", share), ("old", 100 - share)]) for share in (0.0, 10.0, 35.0, 80.0, 100.0)]
    for before, after in pairwise(steps):
        assert all(later == "new" for earlier, later in zip(before, after, strict=True) if earlier == "new")
    assert set(steps[0]) == {"old"}
    assert set(steps[-1]) == {"new"}


def test_workers_split_their_visitors_independently() -> None:
    shop = [choose("shop", HALVES, {KEY: b"%d" % key}) for key in range(200)]
    blog = [choose("blog", HALVES, {KEY: b"%d" % key}) for key in range(200)]
    assert shop != blog


@pytest.mark.parametrize(
    "header",
    [b'shop="0a"', b'blog="0b", shop="0a"', b'  shop = "0A" ', b'shop="0a",blog="ff"'],
)
def test_an_override_names_one_of_the_versions_even_with_no_share(header: bytes) -> None:
    shares = [("0a", 0.0), ("0b", 100.0)]
    assert choose("shop", shares, {OVERRIDES: header}) == 0


@pytest.mark.parametrize(
    "header", [b'shop="ff"', b'blog="0a"', b"shop=0a", b'shop="0a', b'shop="0a";;', b"", b'shop="0a" x']
)
def test_an_override_that_names_no_version_of_the_deployment_changes_nothing(header: bytes) -> None:
    shares = [("0a", 0.0), ("0b", 100.0)]
    assert choose("shop", shares, {OVERRIDES: header}) == 1


def test_shares_that_are_rounded_down_leave_no_gap() -> None:
    shares = [("a", 33.333), ("b", 66.66)]
    assert {shares[choose("shop", shares, {KEY: b"%d" % key})][0] for key in range(3000)} == {"a", "b"}
