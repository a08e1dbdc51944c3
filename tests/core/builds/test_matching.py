from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.builds.matching import matches, matches_branch, skip_reason
from kedge.contracts.forge import Push, Repo
from kedge.db.tables import Trigger


def trigger(**rules: list[str]) -> Trigger:
    return Trigger(
        uuid="t",
        account_id="a",
        worker_id="w",
        repo_connection_uuid="r",
        name="n",
        created_on=0,
        modified_on=0,
        branch_includes=rules.get("branch_includes", ["*"]),
        branch_excludes=rules.get("branch_excludes", []),
        path_includes=rules.get("path_includes", ["*"]),
        path_excludes=rules.get("path_excludes", []),
    )


def push(*paths: str, message: str = "", commits: int = 1) -> Push:
    return Push(
        repo=Repo(forge="git", owner="o", name="r"),
        branch="main",
        commit_hash="0" * 40,
        trusted=True,
        commit_message=message,
        changed_paths=paths,
        commit_count=commits,
    )


@pytest.mark.parametrize(
    ("includes", "excludes", "branch", "builds"),
    [
        (["main"], [], "main", True),
        (["main"], [], "main2", False),
        (["*"], ["main"], "main", False),
        (["*"], ["main"], "feature/x", True),
        (["preview/*"], [], "preview/a/b", True),
        (["preview/*"], [], "other", False),
        (["rel-*-x"], [], "rel-1.2-x", True),
        (["a.b"], [], "aXb", False),
        (["*"], [], "$(touch x)\n", True),
    ],
)
def test_branch_rules(includes: list[str], excludes: list[str], branch: str, *, builds: bool) -> None:
    assert matches_branch(trigger(branch_includes=includes, branch_excludes=excludes), branch) is builds


@pytest.mark.parametrize(
    ("includes", "excludes", "paths", "skipped"),
    [
        (["docs/*"], [], ("docs/a/b.md",), False),
        (["docs/*"], [], ("src/a.py",), True),
        (["*"], ["*.md"], ("readme.md",), True),
        (["*"], ["*.md"], ("readme.md", "a.py"), False),
        (["docs/*"], [], (), False),
    ],
)
def test_watch_paths(
    includes: list[str], excludes: list[str], paths: tuple[str, ...], *, skipped: bool
) -> None:
    rules = trigger(path_includes=includes, path_excludes=excludes)

    assert (skip_reason(rules, push(*paths)) is not None) is skipped


def test_a_push_too_large_to_judge_by_its_paths_builds() -> None:
    rules = trigger(path_includes=["docs/*"])

    assert skip_reason(rules, push(*(f"src/{number}" for number in range(3000)))) is None
    assert skip_reason(rules, push("src/a", commits=20)) is None


@pytest.mark.parametrize("mark", ["[skip ci]", "[CI Skip]", "[ci-skip]", "[Skip-CI]", "[CF-Pages-Skip]"])
def test_a_commit_message_can_say_not_to_build(mark: str) -> None:
    assert skip_reason(trigger(), push("a", message=f"{mark} typo")) is not None
    assert skip_reason(trigger(), push("a", message=f"a change\n\n{mark} quoted below")) is None


@given(
    pattern=st.lists(st.sampled_from(["*", "a", "b", "/", "."]), max_size=8).map("".join),
    text=st.text("ab/.", max_size=12),
)
def test_patterns_mean_what_the_same_regular_expression_means(pattern: str, text: str) -> None:
    regular = ".*".join(re.escape(part) for part in pattern.split("*"))

    assert matches(pattern, text) is (re.fullmatch(regular, text, re.DOTALL) is not None)


def test_no_pattern_takes_long_however_nasty() -> None:
    assert not matches("*a" * 60 + "b", "a" * 100_000)
