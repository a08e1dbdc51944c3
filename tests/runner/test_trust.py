"""The runner with code from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.runner.conftest import FakeKedge, Runners


def test_it_builds_says_that_it_is_not_trusted_and_does_not_deploy(
    kedge: FakeKedge, runners: Runners
) -> None:
    verdict = runners.run(
        trusted=False,
        deploy=None,
        build_command="echo built; env",
        deploy_command="echo deployed",
    )

    assert verdict["outcome"] == "success"
    assert "Not trusted: whoever sent this commit may not write to the repository" in kedge.log
    assert "built\n" in kedge.log
    assert "Not deployed: this build is not trusted" in kedge.log
    assert "deployed\n" not in kedge.log
    assert "KEDGE_TOKEN" not in kedge.log
    assert [phase["outcome"] for phase in verdict["phases"] if phase["name"] == "deploy"] == ["skipped"]


def test_a_trusted_build_says_nothing_of_trust(kedge: FakeKedge, runners: Runners) -> None:
    assert runners.run(deploy_command="echo deployed")["outcome"] == "success"

    assert "deployed\n" in kedge.log
    assert "trusted" not in kedge.log


def test_it_builds_where_commands_reach_kedge_by_a_relay(
    kedge: FakeKedge, runners: Runners, tmp_path: Path
) -> None:
    kedge.stop()
    kedge.socket = str(tmp_path / "kedge.sock")
    kedge.start()
    runners.endpoint, runners.relay = f"unix:{kedge.socket}", True

    verdict = runners.run(trusted=False, deploy=None, build_command="echo built")

    assert verdict["outcome"] == "success"
    assert "built\n" in kedge.log
