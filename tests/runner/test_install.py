"""Dependencies: which manager is used, and what is said of it."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from kedge_runner.detect import detect

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.runner.conftest import FakeKedge, Runners


@pytest.mark.parametrize(
    ("files", "commands"),
    [
        ({}, []),
        ({"package.json": "{}"}, []),
        ({"package-lock.json": ""}, ["npm ci"]),
        ({"npm-shrinkwrap.json": ""}, ["npm ci"]),
        ({"pnpm-lock.yaml": ""}, ["pnpm install --frozen-lockfile"]),
        ({"yarn.lock": ""}, ["yarn install --frozen-lockfile"]),
        ({"yarn.lock": "", ".yarnrc.yml": ""}, ["yarn install --immutable"]),
        ({"bun.lock": ""}, ["bun install --frozen-lockfile"]),
        ({"bun.lockb": ""}, ["bun install --frozen-lockfile"]),
        ({"uv.lock": "", "requirements.txt": ""}, ["uv sync --frozen"]),
        ({"poetry.lock": ""}, ["poetry install --no-interaction"]),
        ({"pnpm-lock.yaml": "", "package-lock.json": ""}, ["pnpm install --frozen-lockfile"]),
        (
            {
                "pnpm-lock.yaml": "",
                "package-lock.json": "",
                "package.json": '{"packageManager": "npm@10.1.0"}',
            },
            ["npm ci"],
        ),
        (
            {"pnpm-lock.yaml": "", "package-lock.json": "", "package.json": "[" * 100_000},
            ["pnpm install --frozen-lockfile"],
        ),
        ({"package-lock.json": "", "uv.lock": ""}, ["npm ci", "uv sync --frozen"]),
    ],
)
def test_a_lockfile_tells_how_to_install(tmp_path: Path, files: dict[str, str], commands: list[str]) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)

    assert [manager.command for manager in detect(tmp_path.as_posix())] == commands


def test_requirements_are_installed_beside_the_repository(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("")

    (manager,) = detect(str(tmp_path))

    assert '-m venv "$VIRTUAL_ENV"' in manager.command
    assert manager.command.endswith("-r requirements.txt")


@pytest.fixture
def tools(tmp_path: Path) -> Callable[[str, str], str]:
    """Puts a tool of its own in a folder, and returns a PATH that begins with it."""

    def add(name: str, script: str) -> str:
        folder = tmp_path / "tools"
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
        return f"{folder}:/usr/bin:/bin"

    return add


def with_file(source: Path, commit_all: Callable[[Path], str], name: str) -> str:
    (source / name).write_text("")
    return commit_all(source)


def test_the_versions_shown_are_those_that_run(
    runners: Runners,
    kedge: FakeKedge,
    source: Path,
    commit_all: Callable[[Path], str],
    tools: Callable[[str, str], str],
) -> None:
    kedge.job["commit_hash"] = with_file(source, commit_all, "pnpm-lock.yaml")
    tools("node", "echo v22.16.0")
    path = tools("pnpm", 'case "$1" in --version) echo 10.11.1;; *) echo installed with "$@";; esac')

    assert runners.start(PATH=path).wait(60) == 0

    assert "Detected the following tools from environment: pnpm@10.11.1, node@22.16.0\n" in kedge.log
    assert (
        "Installing project dependencies: pnpm install --frozen-lockfile\n"
        "installed with install --frozen-lockfile\n"
    ) in kedge.log
    assert kedge.verdict["phases"][2] | {"started_ms": 0, "duration_ms": 0} == {
        "name": "install",
        "started_ms": 0,
        "duration_ms": 0,
        "outcome": "success",
    }


def test_a_missing_tool_is_named_with_how_to_get_it(
    runners: Runners, kedge: FakeKedge, source: Path, commit_all: Callable[[Path], str]
) -> None:
    kedge.job["commit_hash"] = with_file(source, commit_all, "bun.lock")

    assert runners.start(PATH="/usr/bin:/bin").wait(60) == 0

    assert (kedge.verdict["outcome"], kedge.verdict["failure"]) == ("fail", "dependency")
    assert "bun is missing" in kedge.verdict["message"]
    assert "npm install -g bun" in kedge.verdict["message"]


def test_an_install_that_fails_is_a_dependency_failure(
    runners: Runners,
    kedge: FakeKedge,
    source: Path,
    commit_all: Callable[[Path], str],
    tools: Callable[[str, str], str],
) -> None:
    kedge.job |= {
        "commit_hash": with_file(source, commit_all, "uv.lock"),
        "build_command": "echo never",
    }
    path = tools("uv", 'echo uv 0.5.0 "(abc)"; test "$1" = --version || exit 2')

    assert runners.start(PATH=path).wait(60) == 0

    assert (kedge.verdict["failure"], kedge.verdict["exit_code"]) == ("dependency", 2)
    assert "uv@0.5.0" in kedge.log
    assert "never" not in kedge.log


@pytest.mark.parametrize("value", ["1", "true"])
def test_dependencies_can_be_skipped(
    runners: Runners, kedge: FakeKedge, source: Path, commit_all: Callable[[Path], str], value: str
) -> None:
    verdict = runners.run(
        commit_hash=with_file(source, commit_all, "bun.lock"),
        variables={"SKIP_DEPENDENCY_INSTALL": value},
        build_command="echo built",
    )

    assert verdict["outcome"] == "success"
    assert "SKIP_DEPENDENCY_INSTALL is set" in kedge.log


def test_requirements_are_there_for_the_build(
    runners: Runners, kedge: FakeKedge, source: Path, commit_all: Callable[[Path], str]
) -> None:
    verdict = runners.run(
        commit_hash=with_file(source, commit_all, "requirements.txt"),
        build_command="python -c 'import sys; print(sys.prefix)'; git status --porcelain",
    )

    assert verdict["outcome"] == "success"
    assert f"\n{runners.workspace}/venv\nSuccess: Build" in kedge.log


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
def test_npm_installs_what_is_locked(
    runners: Runners, kedge: FakeKedge, source: Path, commit_all: Callable[[Path], str]
) -> None:
    package = {"name": "x", "version": "1.0.0"}
    lock = package | {"lockfileVersion": 3, "packages": {"": package}}
    (source / "package.json").write_text(json.dumps(package))
    (source / "package-lock.json").write_text(json.dumps(lock))

    verdict = runners.run(commit_hash=commit_all(source), build_command="npm pkg get name")

    assert verdict["outcome"] == "success"
    assert "Detected the following tools from environment: npm@" in kedge.log
    assert '"x"' in kedge.log
