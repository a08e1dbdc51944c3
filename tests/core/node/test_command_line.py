from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from tests.core.node.command_line import kedge, kedge_json

from kedge.cli.workers import create_worker
from kedge.client import ClientError
from kedge.testing.node import RunningNode, latest_build, wait_for_end

if TYPE_CHECKING:
    from pathlib import Path

    from kedge.testing.node import Repository

FILE = """
[workers.hello]
build = "echo $GREETING"
branch = "main"
paths = { include = ["*"], exclude = ["*.md"] }

[workers.hello.variables]
GREETING = "hello"
API_KEY = { secret = "env:TEST_API_KEY" }
"""


def test_the_usual_commands_on_the_way_of_a_push(node: RunningNode, repository: Repository) -> None:
    kedge(node, "worker", "create", "hello", "--build", "echo built", "--no-previews")
    node.push(repository, "hello")
    uuid = latest_build(node.server)["build_uuid"]

    assert "success" in kedge(node, "builds", "list")
    assert "success" in kedge(node, "builds", "list", "--status", "success")
    for other in ("fail", "running"):
        assert kedge(node, "builds", "list", "--status", other) == "No build is like that.\n"
    assert "echo built" in kedge(node, "worker", "show", "hello")
    assert "built\n" in kedge(node, "builds", "logs", uuid[:8])
    assert "built\n" in kedge(node, "builds", "logs", "-f", uuid)
    assert kedge_json(node, "builds", "show", uuid)["build_outcome"] == "success"
    assert kedge_json(node, "queue") == []
    assert "attempt" in kedge(node, "builds", "retry", uuid)
    assert kedge_json(node, "worker", "list")[0]["name"] == "hello"
    assert "gone" in kedge(node, "worker", "delete", "hello")
    for command in ("worker delete", "rollback"):
        assert "`kedge worker list`" in kedge(node, *command.split(), "hello", code=1)


@pytest.mark.parametrize(
    ("option", "value"),
    [("--root", "../.."), ("--branch", "a..b"), ("--build", "x" * 10_000), ("--deploy", "x" * 10_000)],
)
def test_a_worker_that_cannot_be_made_as_told_is_not_made_and_the_option_is_named(
    node: RunningNode, option: str, value: str
) -> None:
    output = kedge(node, "worker", "create", "hello", option, value, code=1)

    assert output.startswith(f"kedge: {option}: ")
    assert node.server.get("/workers/workers") == []


def test_a_worker_is_taken_back_if_the_server_refuses_a_trigger_and_no_other_is(node: RunningNode) -> None:
    parts: dict[str, Any] = {"build": "", "deploy": "", "root": "/", "branch": "main", "previews": True}
    create_worker(node.server, "other", **parts)

    with pytest.raises(ClientError, match="root_directory"):
        create_worker(node.server, "hello", **{**parts, "root": "../.."})
    with pytest.raises(ClientError, match="other"):
        create_worker(node.server, "other", **parts)

    assert [worker["name"] for worker in node.server.get("/workers/workers")] == ["other"]
    assert len(node.server.get("/builds/workers/other/triggers")) == 2


def test_a_worker_without_triggers_is_not_built_and_one_is_told_how_to_make_some(node: RunningNode) -> None:
    node.server.post("/workers/workers", {"name": "bare"})

    assert "`kedge apply`" in kedge(node, "builds", "start", "bare", code=1)


def test_a_build_that_is_skipped_says_why_wherever_it_is_shown(
    node: RunningNode, repository: Repository
) -> None:
    kedge(node, "worker", "create", "app", "--build", "true", "--no-previews")
    repository.commit({"a": "b"}, "Mend a typo [skip ci]")
    pushed = node.push(repository, "app").stderr
    uuid = latest_build(node.server)["build_uuid"]
    why = "The commit message says to skip it."

    assert f"ended: skipped. {why}" in pushed
    assert f"  skipped  {why}" in kedge(node, "builds", "show", uuid).splitlines()
    for follow in ([], ["-f"]):
        assert why in kedge(node, "builds", "logs", *follow, uuid)


def test_what_a_build_prints_is_shown_as_text(node: RunningNode, repository: Repository) -> None:
    kedge(node, "worker", "create", "loud", "--build", r"printf '\033[2J\033]0;owned\007in \033[32mgreen\n'")
    node.push(repository, "loud")
    uuid = latest_build(node.server)["build_uuid"]

    for arguments in ([uuid], ["-f", uuid]):
        lines = kedge(node, "builds", "logs", *arguments).splitlines()
        assert "in green" in lines
        assert not any("\x1b" in line for line in lines)


@pytest.mark.parametrize("previews", ["--previews", "--no-previews"])
def test_another_branch_that_is_built_by_hand_does_not_go_into_production(
    node: RunningNode, repository: Repository, previews: str
) -> None:
    kedge(node, "worker", "create", "app", "--build", "true", "--deploy", "kedge deploy .", previews)
    node.push(repository, "app")
    repository.git("checkout", "-q", "-b", "feature")
    repository.commit({"readme.txt": "not yet for everybody\n"})
    node.push(repository, "app", "feature")

    started = kedge_json(node, "builds", "start", "app", "--branch", "feature")
    built = wait_for_end(node.server, started["build_uuid"])
    by_default = kedge_json(node, "builds", "start", "app")

    assert (built["build_outcome"], built["kedge"]["is_production"]) == ("success", False)
    assert wait_for_end(node.server, by_default["build_uuid"])["kedge"]["is_production"]
    address = {"Host": f"app.localhost:{httpx.URL(node.server.url).port}"}
    page = httpx.get(f"{node.server.url}/readme.txt", headers=address, trust_env=False)
    assert page.text == "hello"
    assert "not both" in kedge(node, "builds", "start", "app", "--branch", "a", "--commit", "b", code=1)


def test_the_exit_status_of_following_tells_the_outcome(node: RunningNode, repository: Repository) -> None:
    kedge(node, "worker", "create", "bad", "--build", "exit 4")
    node.push(repository, "bad")

    output = kedge(node, "builds", "logs", "-f", latest_build(node.server)["build_uuid"], code=1)

    assert "exit code 4" in output


def test_apply_makes_it_so_twice_changes_nothing_and_export_gives_the_file_back(
    node: RunningNode, tmp_path: Path
) -> None:
    file = tmp_path / "workers.toml"
    file.write_text(FILE)
    secret = {"TEST_API_KEY": "hunter2-hunter2"}

    planned = kedge(node, "apply", "--dry-run", str(file), environ=secret)
    assert "3 changes planned" in planned
    assert node.server.get("/workers/workers") == []
    applied = kedge(node, "apply", str(file), environ=secret)
    assert "hunter2" not in planned + applied
    assert kedge_json(node, "apply", str(file), **secret) == []
    changed = kedge_json(node, "apply", str(file), TEST_API_KEY="another-secret")
    assert {change["what"].split()[-1] for change in changed} == {"API_KEY"}

    exported = kedge(node, "export")
    assert "another-secret" not in exported
    file.write_text(exported)
    values = dict.fromkeys(("HELLO_API_KEY", "HELLO_PREVIEW_API_KEY"), "another-secret")
    assert kedge_json(node, "apply", str(file), **values) == []

    file.write_text("")
    assert kedge_json(node, "apply", str(file)) == []
    removed = kedge_json(node, "apply", "--prune", str(file))
    assert [change["what"] for change in removed] == ["worker hello"]
    assert node.server.get("/workers/workers") == []


def test_a_secret_that_is_not_there_stops_apply_before_anything_is_done(
    node: RunningNode, tmp_path: Path
) -> None:
    file = tmp_path / "workers.toml"
    file.write_text(FILE)

    output = kedge(node, "apply", str(file), code=1)

    assert "TEST_API_KEY is not set" in output
    assert node.server.get("/workers/workers") == []


def test_a_repository_of_an_unknown_forge_stops_apply_before_its_worker_is_made(
    node: RunningNode, tmp_path: Path
) -> None:
    file = tmp_path / "workers.toml"
    file.write_text('[workers.hello]\nrepo = "gitlab:hello"\n')

    output = kedge(node, "apply", str(file), code=1)

    assert "workers.hello.repo: " in output
    assert "there is no forge 'gitlab'" in output
    assert node.server.get("/workers/workers") == []


def test_without_a_server_the_message_says_how_to_get_one(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "kedge", "builds", "list", "--data-dir", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "Start one with `kedge up`" in done.stderr


@pytest.mark.parametrize("command", [("doctor",), ("plugins",), ("config", "check")])
def test_commands_that_need_no_server(node: RunningNode, command: tuple[str, ...]) -> None:
    assert kedge_json(node, *command)


def test_the_doctor_tells_where_the_running_kedge_has_its_writes_done(node: RunningNode) -> None:
    findings = {one["what"]: one["found"] for one in kedge_json(node, "doctor")}

    assert findings["writes of the API"].startswith("done at ")


def test_a_second_node_in_the_same_data_dir_is_refused(node: RunningNode) -> None:
    assert "another Kedge runs in" in kedge(node, "up", "--listen", "127.0.0.1:0", code=1)


def test_a_taken_address_is_refused_with_what_to_do(node: RunningNode, tmp_path: Path) -> None:
    address = node.server.url.removeprefix("http://")

    output = kedge(node, "up", "--listen", address, "--data-dir", str(tmp_path / "other"), code=1)

    assert "--listen 127.0.0.1:0" in output


def test_the_demo_works_twice_in_one_folder(node: RunningNode, tmp_path: Path) -> None:
    folder = str(tmp_path / "demo")

    first = kedge_json(node, "demo", "--data-dir", folder)
    second = kedge_json(node, "demo", "--data-dir", folder)

    assert first["page fetched"] > 0
    assert second["push to build stopped"] > 0


def test_workers_of_the_servers_own_config_are_there_when_it_has_started(tmp_path: Path) -> None:
    node = RunningNode(tmp_path, '[workers.site]\nbuild = "echo hi"\nvariables = { A = "1" }\n').start()
    try:
        while "trigger site/preview" not in node.said():
            assert "not applied" not in node.said()
            time.sleep(0.01)
        triggers = node.server.get("/builds/workers/site/triggers")
    finally:
        node.stop()

    assert {trigger["build_command"] for trigger in triggers} == {"echo hi"}


def test_a_deploy_hook_is_made_called_changed_and_removed(node: RunningNode, repository: Repository) -> None:
    kedge(node, "worker", "create", "hello")
    node.push(repository, "hello")
    made = kedge(node, "hooks", "create", "hello", "newsroom")
    url = made.split()[-1]

    asked = httpx.post(url, trust_env=False).json()["result"]
    build = kedge_json(node, "builds", "show", asked["build_uuid"])
    assert build["deploy_hook"] == {"deploy_hook_name": "newsroom"}
    listed = kedge(node, "hooks", "list", "hello")
    assert "newsroom" in listed
    assert url.rpartition("/")[2] not in listed
    assert url in kedge(node, "hooks", "show", "hello", "newsroom")
    changed = kedge_json(node, "hooks", "change", "hello", "newsroom", "--branch", "dev")
    assert (changed["deploy_hook_name"], changed["branch"]) == ("newsroom", "dev")
    assert "--name, --branch or both" in kedge(node, "hooks", "change", "hello", "newsroom", code=1)
    assert "has no hook 'gone'" in kedge(node, "hooks", "show", "hello", "gone", code=1)
    kedge(node, "hooks", "delete", "hello", "newsroom")
    assert httpx.post(url, trust_env=False).status_code == 404
    assert url.rpartition("/")[2] not in node.said()


def test_git_asks_kedge_for_the_password_and_gets_it_for_this_kedge_alone(
    node: RunningNode, repository: Repository
) -> None:
    kedge(node, "worker", "create", "hello", "--build", "true")
    helper = f"!{sys.executable} -m kedge git-credential"
    config = ["-c", f"credential.{node.server.url}.helper={helper}"]
    repository.commit({"page": "1"})

    pushed = subprocess.run(
        ["git", *config, "push", f"{node.server.url}/git/default/hello.git", "main"],
        cwd=repository.folder,
        env={**repository.environment(), "KEDGE_DATA_DIR": str(node.data_dir)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    elsewhere = subprocess.run(
        [sys.executable, "-m", "kedge", "git-credential", "get"],
        env={**os.environ, "KEDGE_DATA_DIR": str(node.data_dir)},
        input="protocol=http\nhost=elsewhere.example\n",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert pushed.returncode == 0, pushed.stderr
    assert (elsewhere.returncode, elsewhere.stdout) == (0, "")


def test_a_deploy_that_fails_says_why_in_words(
    node: RunningNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kedge(node, "worker", "create", "hello")
    project = tmp_path / "project"
    project.mkdir()
    (project / "kedge.toml").write_text('[worker]\nkind = "command"\nentry = "false"\n')

    elsewhere = kedge(node, "deploy", str(project), "--worker", "hello", code=1)
    monkeypatch.chdir(project)
    there = kedge(node, "deploy", ".", "--worker", "hello", code=1)

    assert (
        elsewhere
        == f"kedge: {project} has a kedge.toml of its own, for a worker that runs: deploy it from there\n"
    )
    assert there.startswith("kedge: version 1 does not serve")
    assert "Traceback" not in there
