"""A whole attempt, from the assignment to the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.runner.conftest import FakeKedge, Runners


def test_a_build_shows_its_phases_in_order(runners: Runners, kedge: FakeKedge) -> None:
    verdict = runners.run(build_command="echo built", deploy_command="echo deployed")

    assert verdict["outcome"] == "success"
    assert verdict["exit_code"] == 0
    assert kedge.log.splitlines() == [
        "Initializing build environment...",
        "Success: Finished initializing build environment",
        "Cloning repository...",
        "Success: Finished cloning repository files",
        "Executing user build command: echo built",
        "built",
        "Success: Build command completed",
        "Executing user deploy command: echo deployed",
        "deployed",
        "Success: Deploy command completed",
    ]


def test_every_phase_tells_when_it_began_and_how_it_ended(runners: Runners, kedge: FakeKedge) -> None:
    verdict = runners.run(build_command="exit 3")

    phases = {phase["name"]: phase["outcome"] for phase in verdict["phases"]}
    assert phases == {"initialize": "success", "clone": "success", "install": "skipped", "build": "fail"}
    assert all(phase["duration_ms"] >= 0 for phase in verdict["phases"])
    started = [phase["started_ms"] for phase in verdict["phases"]]
    assert started == sorted(started)


def test_the_report_counts_the_chunks_and_comes_after_the_last_of_them(
    runners: Runners, kedge: FakeKedge
) -> None:
    verdict = runners.run(build_command="echo x")

    assert verdict["chunks"] == len(kedge.chunks)
    assert [status["status"] for status in kedge.statuses] == ["running", "stopped"]


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("exit 7", 7, "exit code 7"),
        ("no-such-command", 127, "not found"),
        ("touch f; ./f", 126, "chmod +x"),
        ("kill -SEGV $$", -11, "signal 11"),
        ("sh -c 'kill -9 $$'", 137, "killed"),
    ],
)
def test_a_failing_command_is_the_users_failure_and_says_why(
    runners: Runners, kedge: FakeKedge, command: str, code: int, words: str
) -> None:
    verdict = runners.run(build_command=command, deploy_command="echo never")

    assert (verdict["outcome"], verdict["failure"], verdict["exit_code"]) == ("fail", "user", code)
    assert words in verdict["message"]
    assert f"Failed: {verdict['message']}" in kedge.log
    assert "never" not in kedge.log.replace("echo never", "")


def test_commands_run_in_the_root_directory(runners: Runners, kedge: FakeKedge) -> None:
    assert runners.run(root_directory="/site", build_command="cat index.html")["outcome"] == "success"
    assert "\nhello\n" in kedge.log


@pytest.mark.parametrize("root", ["../..", "/..", "a/../../..", "link", "nowhere", "x\0y", "site/index.html"])
def test_a_root_directory_outside_of_the_repository_is_refused(
    runners: Runners, kedge: FakeKedge, source: Path, commit_all: Callable[[Path], str], root: str
) -> None:
    (source / "link").symlink_to("/etc")
    kedge.job["commit_hash"] = commit_all(source)

    verdict = runners.run(root_directory=root, build_command="pwd")

    assert (verdict["outcome"], verdict["failure"]) == ("fail", "user")
    assert "Executing" not in kedge.log


def test_a_command_sees_what_ci_sets_and_nothing_of_the_node(
    runners: Runners, kedge: FakeKedge, commit: str
) -> None:
    kedge.job |= {"variables": {"MINE": "yes", "LANG": "de_DE"}, "build_command": "env", "branch": "feat/x"}

    assert runners.start(SECRET_OF_THE_NODE="x").wait(60) == 0

    seen = dict(line.split("=", 1) for line in kedge.log.splitlines() if "=" in line)
    assert {name: seen[name] for name in ("CI", "WORKERS_CI", "KEDGE_CI", "MINE", "LANG")} == {
        "CI": "true",
        "WORKERS_CI": "1",
        "KEDGE_CI": "1",
        "MINE": "yes",
        "LANG": "de_DE",
    }
    for prefix in ("WORKERS_CI", "KEDGE_CI"):
        assert seen[f"{prefix}_BUILD_UUID"] == kedge.build_uuid
        assert seen[f"{prefix}_COMMIT_SHA"] == commit
        assert seen[f"{prefix}_BRANCH"] == "feat/x"
    assert "SECRET_OF_THE_NODE" not in seen
    assert "KEDGE_TOKEN" not in seen
    assert seen["HOME"].startswith(str(runners.workspace))


def test_only_the_deploy_command_learns_how_to_deploy(runners: Runners, kedge: FakeKedge) -> None:
    names = "$KEDGE_URL $KEDGE_ACCOUNT $KEDGE_WORKER ${KEDGE_PREVIEW_ALIAS-none}"

    verdict = runners.run(
        build_command="echo in build: ${KEDGE_TOKEN-none}",
        deploy_command=f'echo in deploy: {names}; test "$KEDGE_TOKEN" = kdd_deploy-token',
    )

    assert verdict["outcome"] == "success"
    assert "in build: none" in kedge.log
    assert "in deploy: http://127.0.0.1:1 default hello none" in kedge.log


def test_a_preview_build_is_told_its_alias(runners: Runners, kedge: FakeKedge) -> None:
    runners.run(is_production=False, preview_alias="feat-x", deploy_command="echo $KEDGE_PREVIEW_ALIAS.")

    assert "feat-x." in kedge.log


def test_hostile_names_are_only_text(runners: Runners, kedge: FakeKedge) -> None:
    branch = "--upload-pack=touch pwned;$(touch pwned)\n../`touch pwned`"

    verdict = runners.run(branch=branch, build_command="ls; echo ok")

    assert verdict["outcome"] == "success"
    assert "pwned" not in "".join(path.name for path in runners.workspace.rglob("*"))


def test_the_runner_shows_its_token_to_nobody(runners: Runners, kedge: FakeKedge) -> None:
    runners.run(build_command="cat /proc/$PPID/environ /proc/$PPID/cmdline | tr '\\0' '\\n'; echo seen")

    assert "kdr_" not in kedge.log
    assert "seen" in kedge.log


def test_a_workspace_that_cannot_be_written_is_an_internal_failure(
    runners: Runners, kedge: FakeKedge
) -> None:
    runners.workspace.mkdir()
    (runners.workspace / "home").write_text("in the way")

    verdict = runners.run(build_command="true")

    assert (verdict["outcome"], verdict["failure"]) == ("fail", "internal")
