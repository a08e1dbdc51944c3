"""What the documentation says is so: its programs run, its settings load, its reference is whole."""

from __future__ import annotations

import importlib.util
import inspect
import re
import socket
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kedge import errors, hookspecs
from kedge.config import Settings, load
from kedge_runner.worker_file import WorkerFile

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(
    page for page in DOCS.rglob("*.md") if not {"examples", "generated"} & set(page.relative_to(DOCS).parts)
)
BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[Any]:
    found = []
    for page in PAGES:
        texts = [text for kind, text in BLOCK.findall(page.read_text()) if kind == language]
        name = page.relative_to(DOCS)
        found += [pytest.param(text, id=f"{name}-{number}") for number, text in enumerate(texts, start=1)]
    return found


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def reference(generator: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(generator, "TARGET", tmp_path / "generated")
    generator.main()
    return tmp_path / "generated"


@pytest.mark.parametrize("program", blocks("python"))
def test_every_program_runs(program: str, tmp_path: Path) -> None:
    file = tmp_path / "example.py"
    file.write_text(program)
    ran = subprocess.run(
        [sys.executable, str(file)], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("settings", blocks("toml"))
def test_all_settings_load(settings: str, tmp_path: Path) -> None:
    tables = tomllib.loads(settings)
    if "worker" in tables:
        assert WorkerFile(tables["worker"]).run is not None
        return
    if not Settings.model_fields.keys() & tables.keys():
        assert "project" in tables, "neither settings nor a pyproject.toml"
        return
    file = tmp_path / "kedge.toml"
    file.write_text(settings)
    load(file, {"HOME": str(tmp_path)}, {})


def test_every_hook_is_described(reference: Path) -> None:
    page = (reference / "hooks.md").read_text()
    hooks = [name for name in vars(hookspecs) if name.startswith("kedge_")]
    assert hooks
    assert [name for name in hooks if f"`{name}(" not in page] == []


def test_every_error_is_described(reference: Path) -> None:
    page = (reference / "errors.md").read_text()
    classes = [
        cls for cls in vars(errors).values() if inspect.isclass(cls) and cls.__module__ == errors.__name__
    ]
    named = [cls.__name__ for cls in classes if issubclass(cls, Exception)]
    assert named
    assert [name for name in named if f"`{name}`" not in page] == []


def test_the_reference_does_not_tell_of_the_machine_it_was_written_on(reference: Path) -> None:
    page = (reference / "configuration.md").read_text()
    assert f"`{socket.gethostname()}`" not in page
    assert f"`{Path.home()}/" not in page


def test_every_page_of_the_navigation_exists(reference: Path) -> None:
    navigation = (ROOT / "mkdocs.yml").read_text().partition("\nnav:")[2]
    pages = re.findall(r": (\S+\.md)$", navigation, re.MULTILINE)
    assert pages
    missing = [
        page for page in pages if not (DOCS / page).exists() and not (reference / Path(page).name).exists()
    ]
    assert missing == []


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text()
    assert [str(page) for page in PAGES if str(page.relative_to(DOCS)) not in navigation] == []
