from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.errors import InvalidInput
from kedge.workers.previews import LONGEST_LABEL, alias_of_branch, check_alias, splits

WORKERS = st.from_regex(r"[a-z]([a-z0-9-]{0,60}[a-z0-9])?", fullmatch=True)


@pytest.mark.parametrize(
    ("branch", "alias"),
    [
        ("main", "main"),
        ("Feature/Log-In", "feature-log-in"),
        ("feature//__x--y", "feature-x-y"),
        ("-lead-and-trail-", "lead-and-trail"),
        ("fix/ümlaut", "fix-mlaut"),
        ("renovate/all\n", "renovate-all"),
        ("x", "x"),
    ],
)
def test_a_branch_becomes_an_alias_as_wrangler_makes_it(branch: str, alias: str) -> None:
    assert alias_of_branch(branch, "hello") == alias


@pytest.mark.parametrize("branch", ["", "123", "1-fix", "///", "ümlaut"[:1], "日本語"])
def test_a_branch_that_cannot_begin_a_label_has_no_alias(branch: str) -> None:
    assert alias_of_branch(branch, "hello") is None


def test_a_long_branch_is_cut_and_told_from_others_by_its_hash() -> None:
    one, two = (alias_of_branch("a" * 80 + end, "hello") for end in ("1", "2"))

    assert one is not None
    assert two is not None
    assert one != two
    assert re.fullmatch(r"a{52}-[0-9a-f]{4}", one)


def test_no_alias_fits_beside_a_very_long_worker_name() -> None:
    assert alias_of_branch("feature", "w" * 58) is None


@pytest.mark.parametrize("branch", ["deadbeef", "Deadbeef", "a1234567"])
def test_no_branch_has_the_address_of_a_version(branch: str) -> None:
    alias = alias_of_branch(branch, "hello")

    assert alias is not None
    assert re.fullmatch(rf"{branch.lower()}-[0-9a-f]{{4}}", alias)
    with pytest.raises(InvalidInput, match="choose another"):
        check_alias(branch.lower(), "hello")


@given(branch=st.text(max_size=120), worker=WORKERS)
def test_every_alias_is_one_that_an_upload_accepts(branch: str, worker: str) -> None:
    alias = alias_of_branch(branch, worker)

    if alias is not None:
        check_alias(alias, worker)
        assert len(f"{alias}-{worker}") <= LONGEST_LABEL
        assert (alias, worker) in list(splits(f"{alias}-{worker}"))


@given(branch=st.text(max_size=120), worker=WORKERS)
def test_the_same_branch_always_has_the_same_alias(branch: str, worker: str) -> None:
    assert alias_of_branch(branch, worker) == alias_of_branch(branch, worker)


@pytest.mark.parametrize("alias", ["", "-a", "a-", "A", "1a", "a.b", "a\n", "a" * 58])
def test_an_alias_that_is_no_label_is_refused(alias: str) -> None:
    with pytest.raises(InvalidInput):
        check_alias(alias, "hello")


def test_a_label_is_read_with_the_longest_worker_name_first() -> None:
    assert list(splits("a-b-c")) == [("a", "b-c"), ("a-b", "c")]
    assert list(splits("-a-")) == []


@given(st.text(alphabet="ab-", max_size=30))
def test_every_reading_of_a_label_gives_the_label_back(label: str) -> None:
    assert all(f"{alias}-{worker}" == label and alias and worker for alias, worker in splits(label))
