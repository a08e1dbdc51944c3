"""A plugin of a stranger, built and installed beside Kedge in an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[2]
PLUGIN = ROOT / "docs/examples/plugins/kedge-hello"
CONFIG = """
plugins = ["tagged", "hello"]
[compute]
use = "hello"
[compute.hello]
max_attempts = 3
"""


def run(*argv: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(
        [str(one) for one in argv],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{argv} failed:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment with Kedge and the plugin; what they need comes from ours."""
    folder = tmp_path_factory.mktemp("stranger")
    for source in (ROOT, PLUGIN):
        run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, source)
    run(sys.executable, "-m", "venv", "--without-pip", folder / "venv")
    python = folder / "venv/bin/python"
    install = ("-m", "pip", "--python", python, "install", "--quiet", "--no-index", "--no-deps")
    run(sys.executable, *install, *folder.glob("*.whl"))
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return python


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "kedge.toml"
    path.write_text(CONFIG)
    return path


def test_it_runs_beside_an_installed_kedge(python: Path) -> None:
    """Not beside the one of this tree: the wheel has to be enough."""
    found = run(python, "-c", "import kedge, kedge_hello; print(kedge.__file__, kedge_hello.__file__)")
    assert all(str(python.parents[1]) in path for path in found.split())


def test_kedge_plugins_shows_it(python: Path, config: Path) -> None:
    hooks = json.loads(run(python, "-m", "kedge", "plugins", "--config", config, "--json"))
    implementers = {
        (hook["name"], one["plugin"], one["distribution"], one["version"])
        for hook in hooks
        for one in hook["implementers"]
    }
    assert ("kedge_register_compute", "hello", "kedge-hello", "1.0.0") in implementers
    assert ("kedge_build_stopped", "hello", "kedge-hello", "1.0.0") in implementers
    assert "process" not in {plugin for _, plugin, _, _ in implementers}


def test_a_mistake_in_its_table_is_told_like_any_other(python: Path, config: Path) -> None:
    config.write_text(CONFIG.replace("max_attempts", "max_atempts"))
    check = [str(python), "-m", "kedge", "config", "check", "--config", str(config)]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    told = done.stdout + done.stderr
    assert f'{config}:6: compute.hello.max_atempts: unknown key; did you mean "max_attempts"?' in told


def test_it_keeps_its_contract(python: Path) -> None:
    """Its own tests, the contract suite among them, pass where only wheels are."""
    tests = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", "tests")
    assert " passed" in run(python, *tests, cwd=PLUGIN)


@pytest.fixture
def node(python: Path, config: Path, tmp_path: Path) -> Iterator[dict[str, str]]:
    """A running node on the plugin's compute; its environment for clients and where it writes its log."""
    log = tmp_path / "node.log"
    argv = [str(python), "-m", "kedge", "up", "--config", str(config), "--listen", "127.0.0.1:0"]
    argv += ["--data-dir", str(tmp_path / "data"), "--json"]
    with log.open("wb") as stderr, subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=stderr) as up:
        assert up.stdout is not None
        line = up.stdout.readline()
        assert line, log.read_text()
        token = (tmp_path / "data/admin.token").read_text().strip()
        yield {"KEDGE_URL": json.loads(line)["url"], "KEDGE_TOKEN": token, "LOG": str(log)}
        up.terminate()
        assert up.wait(60) == 0, log.read_text()


def test_a_push_is_built_on_it(python: Path, node: dict[str, str], tmp_path: Path) -> None:
    """Nothing in Kedge was changed for it: a config file named it, and a build runs on it."""
    run(python, "-m", "kedge", "worker", "create", "hello", "--build", "echo built on $PWD", env=node)
    repo = tmp_path / "repo"
    git = ("git", "-c", "user.name=ada", "-c", "user.email=ada@example.com", "-C", repo)
    run("git", "init", "-q", "-b", "main", repo)
    run(*git, "commit", "-q", "--allow-empty", "-m", "Say hello")
    address = node["KEDGE_URL"].replace("://", f"://ada:{node['KEDGE_TOKEN']}@")
    run(*git, "push", f"{address}/git/default/hello.git", "main", env={"GIT_TERMINAL_PROMPT": "0"})
    uuid = json.loads(run(python, "-m", "kedge", "builds", "list", "--json", env=node))[0]["build_uuid"]
    log = run(python, "-m", "kedge", "builds", "logs", "--follow", uuid, env=node)
    (build,) = json.loads(run(python, "-m", "kedge", "builds", "list", "--json", env=node))
    assert build["build_outcome"] == "success", log
    assert f"built on {tmp_path / 'data/hello'}" in log
    greetings = [line for line in Path(node["LOG"]).read_text().splitlines() if '"hello"' in line]
    assert any(uuid in line and "success" in line for line in greetings)
