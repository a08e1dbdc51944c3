"""`[workers.NAME]` tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from kedge.config import Settings, VariableSpec, WorkerSpec

if TYPE_CHECKING:
    from pathlib import Path


def test_a_worker_with_nothing_said_builds_main_and_previews_of_the_rest() -> None:
    production, preview = WorkerSpec().triggers()
    assert (production.name, production.branch_includes, production.branch_excludes) == (
        "production",
        ("main",),
        (),
    )
    assert (preview.name, preview.branch_includes, preview.branch_excludes) == ("preview", ("*",), ("main",))
    assert production.path_includes == ("*",)


def test_a_worker_without_a_repo_gets_one_of_its_own_name() -> None:
    assert WorkerSpec().repository("hello") == "git:hello"
    assert WorkerSpec(repo="github:octo/site").repository("hello") == "github:octo/site"


def test_a_worker_without_previews_has_one_trigger() -> None:
    assert [trigger.name for trigger in WorkerSpec(previews=False).triggers()] == ["production"]


def test_triggers_said_in_full_are_all_there_are() -> None:
    table = {"build": "make", "branches": {"include": ["release/*"], "exclude": ["release/0"]}}
    [release] = WorkerSpec.model_validate({"trigger": {"release": table}}).triggers()

    assert (release.name, release.build_command, release.root_directory) == ("release", "make", "/")
    assert (release.branch_includes, release.branch_excludes) == (("release/*",), ("release/0",))
    assert WorkerSpec(trigger={}).triggers() == ()


def test_nothing_that_triggers_said_in_full_would_pass_over_is_accepted() -> None:
    with pytest.raises(ValidationError, match="move branch, build there"):
        WorkerSpec.model_validate({"trigger": {"release": {}}, "build": "make", "branch": "dev"})


def test_previews_take_over_what_they_do_not_change() -> None:
    spec = WorkerSpec.model_validate(
        {
            "build": "make",
            "deploy": "kedge deploy dist",
            "root": "site/",
            "branch": "trunk",
            "branches": {"include": "feature/*", "exclude": ["wip/*"]},
            "variables": {"LEVEL": "production", "REGION": "eu"},
            "preview": {"deploy": "", "variables": {"LEVEL": "preview"}},
        }
    )
    production, preview = spec.triggers()
    assert (preview.build_command, preview.deploy_command) == ("make", "")
    assert preview.root_directory == production.root_directory == "/site"
    assert preview.branch_includes == ("feature/*",)
    assert preview.branch_excludes == ("trunk", "wip/*")
    assert {key: one.value for key, one in preview.variables.items()} == {"LEVEL": "preview", "REGION": "eu"}
    assert production.variables["LEVEL"].value == "production"


def test_a_variable_is_a_text_or_a_secret_by_reference(tmp_path: Path) -> None:
    plain = VariableSpec.model_validate("blue")
    secret = VariableSpec.model_validate({"secret": "env:TOKEN"})
    assert (plain.is_secret, plain.resolve(tmp_path, {})) == (False, "blue")
    assert (secret.is_secret, secret.resolve(tmp_path, {"TOKEN": "s3cret"})) == (True, "s3cret")
    assert "s3cret" not in repr(secret)


@pytest.mark.parametrize("value", [1, True, None, [], {}, {"value": 1}, {"secret": "env:A", "value": "b"}])
def test_other_variables_are_refused(value: object) -> None:
    with pytest.raises(ValidationError, match="must be a text in quotes"):
        VariableSpec.model_validate(value)


def test_a_literal_secret_is_refused_and_not_repeated() -> None:
    with pytest.raises(ValidationError, match="never written here") as caught:
        VariableSpec.model_validate({"secret": "hunter2"})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", ["a", "hello", "a-b-1", "a" * 58])
def test_good_worker_names_are_taken(name: str) -> None:
    assert name in Settings.model_validate({"workers": {name: {}}}).workers


@pytest.mark.parametrize("name", ["", "A", "1a", "-a", "a-", "a_b", "a.b", "a" * 59, "a\n", "../a", "ä"])
def test_bad_worker_names_are_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="a worker's name is"):
        Settings.model_validate({"workers": {name: {}}})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("root", "../x"),
        ("root", "a/../../b"),
        ("root", "a\nb"),
        ("branch", "--upload-pack=x"),
        ("branch", "a..b"),
        ("branch", "feature/*"),
        ("branch", ""),
        ("repo", "hello"),
        ("repo", "git:../../etc"),
        ("repo", "git:$(touch x)"),
        ("repo", "--x:y"),
        ("build", "a\0b"),
        ("variables", {"A B": "x"}),
        ("variables", {"A=B": "x"}),
    ],
)
def test_hostile_values_are_refused(key: str, value: object) -> None:
    with pytest.raises(ValidationError):
        WorkerSpec.model_validate({key: value})
