"""What a project's `kedge.toml` says of its worker, and what travels with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kedge_runner.deploy import files_of
from kedge_runner.files import DeployFailed
from kedge_runner.worker_file import WorkerFile

if TYPE_CHECKING:
    from pathlib import Path


def test_without_a_file_a_worker_is_static(tmp_path: Path) -> None:
    found = WorkerFile.read(str(tmp_path))
    assert (found.kind, found.run, found.directory) == ("static", None, None)


def test_a_file_without_the_table_says_nothing_of_the_worker(tmp_path: Path) -> None:
    (tmp_path / "kedge.toml").write_text('[[cache]]\nname = "x"\npaths = ["y"]\n')
    assert WorkerFile.read(str(tmp_path)).kind == "static"


def test_what_it_says_is_told_to_kedge(tmp_path: Path) -> None:
    (tmp_path / "kedge.toml").write_text(
        '[worker]\nkind = "command"\nentry = "node --title \'my server\' server.js"\nhealth = "/up"\n'
        'memory = "64 MiB"\nconcurrency = 5\n[worker.variables]\nA = "b"\n'
    )
    assert WorkerFile.read(str(tmp_path)).run == {
        "entry": ["node", "--title", "my server", "server.js"],
        "health": "/up",
        "memory_bytes": 64 * 1024**2,
        "concurrency": 5,
        "variables": {"A": "b"},
    }


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"kind": "lambda"}, "worker.kind must be one of static, asgi, command, image"),
        ({"kynd": "asgi"}, "worker.kynd is no key that there is; there are kind, entry"),
        ({"kind": "asgi", "concurrency": "many"}, "worker.concurrency cannot be 'many'"),
        ({"kind": "asgi", "concurrency": True}, "worker.concurrency cannot be True"),
        ({"entry": "app:app"}, "worker.entry is for workers that run: name their `kind`"),
        ({"kind": "command", "entry": "node 'x"}, "worker.entry cannot be split into arguments"),
        ({"kind": "command", "entry": [1]}, "worker.entry must be a text, or a list of texts"),
        ({"kind": "asgi", "memory": "much"}, "worker.memory must be a number of bytes or a text such as"),
    ],
)
def test_a_mistake_is_named_with_what_may_stand_there(table: dict[str, Any], words: str) -> None:
    with pytest.raises(DeployFailed) as caught:
        _ = WorkerFile(table).run
    assert words in str(caught.value)


def test_a_file_that_is_no_toml_is_told(tmp_path: Path) -> None:
    (tmp_path / "kedge.toml").write_text("[worker")
    with pytest.raises(DeployFailed, match=r"kedge\.toml cannot be read"):
        WorkerFile.read(str(tmp_path))


def names(folder: Path, table: dict[str, Any], **environment: str) -> dict[str, bool]:
    """What travels, and whether it may be executed."""
    found = files_of(str(folder), WorkerFile(table), environment)
    return {file.name: file.executable for file in found}


def make(folder: Path, *paths: str) -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(path)


def test_the_packages_of_the_environment_travel_with_an_application(tmp_path: Path) -> None:
    project, venv = tmp_path / "project", tmp_path / "venv"
    make(project, "app.py", "__pycache__/app.pyc", ".venv/lib/x.py")
    site = "lib/python3.11/site-packages"
    make(
        venv,
        f"{site}/starlette/__init__.py",
        f"{site}/starlette/__pycache__/x.pyc",
        f"{site}/pip/__init__.py",
        f"{site}/setuptools-1.dist-info/METADATA",
        f"{site}/distutils-precedence.pth",
        f"{site}/pipeline.py",
    )
    table = {"kind": "asgi", "entry": "app:app"}
    assert set(names(project, table, VIRTUAL_ENV=str(venv))) == {
        "app.py",
        "python_modules/starlette/__init__.py",
        "python_modules/pipeline.py",
    }


def test_packages_that_the_build_put_there_itself_are_taken_as_they_are(tmp_path: Path) -> None:
    project, venv = tmp_path / "project", tmp_path / "venv"
    make(project, "app.py", "python_modules/mine.py")
    make(venv, "lib/python3.11/site-packages/other.py")
    table = {"kind": "asgi", "entry": "app:app"}
    assert set(names(project, table, VIRTUAL_ENV=str(venv))) == {"app.py", "python_modules/mine.py"}


def test_what_may_be_executed_stays_so(tmp_path: Path) -> None:
    make(tmp_path, "server", "data")
    (tmp_path / "server").chmod(0o755)
    assert names(tmp_path, {"kind": "command", "entry": "./server"}) == {"server": True, "data": False}


def test_an_image_needs_no_files() -> None:
    assert files_of(None, WorkerFile({"kind": "image", "image": "nginx"}), {}) == []


def test_a_static_worker_needs_a_folder() -> None:
    with pytest.raises(DeployFailed, match=r"give the folder to deploy, or name it in kedge\.toml"):
        files_of(None, WorkerFile({}), {})
