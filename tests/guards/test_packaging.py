"""What lies in the tree is declared, and what is declared is what the wheel holds."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
TOOLS = PROJECT["tool"]


def packages_in(*folders: str) -> set[str]:
    found = (path.parent.name for folder in folders for path in (ROOT / folder).glob("*/__init__.py"))
    return set(found)


PLUGINS = packages_in("plugins", "backends")
PACKAGES = PLUGINS | packages_in("core")


def test_every_plugin_has_an_entry_point_and_every_entry_point_a_plugin() -> None:
    assert set(PROJECT["project"]["entry-points"]["kedge"].values()) == PLUGINS


def test_an_entry_point_is_named_as_its_package() -> None:
    entry_points = PROJECT["project"]["entry-points"]["kedge"]
    assert {f"kedge_{name}" for name in entry_points} == set(entry_points.values())


def test_import_linter_watches_every_package() -> None:
    linter = TOOLS["importlinter"]
    contracts = {contract["name"]: contract for contract in linter["contracts"]}
    assert set(linter["root_packages"]) == PACKAGES
    assert set(contracts["The core never imports a plugin"]["forbidden_modules"]) == PLUGINS
    assert set(contracts["Plugins do not know each other"]["modules"]) == PLUGINS
    assert set(contracts["The runner imports nothing of Kedge"]["forbidden_modules"]) == PLUGINS | {"kedge"}


def test_isort_knows_every_package() -> None:
    assert set(TOOLS["ruff"]["lint"]["isort"]["known-first-party"]) == PACKAGES


def test_every_package_says_that_it_is_typed() -> None:
    typed = {path.parent.name for path in ROOT.glob("*/*/py.typed")}
    assert typed >= PACKAGES


def test_gitignore_does_not_hide_the_core_from_the_wheel() -> None:
    """hatchling honours .gitignore: a bare `core` there drops kedge from the wheel without a word."""
    lines = {line.strip().strip("/") for line in (ROOT / ".gitignore").read_text().splitlines()}
    assert not lines & {"core", "plugins", "backends", "configs"}


def test_the_wheel_holds_the_packages_whole_and_nothing_else(tmp_path: Path) -> None:
    run(sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(ROOT))
    (wheel,) = tmp_path.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if not name.endswith("/")}
    version = PROJECT["project"]["version"]
    data = f"kedge-{version}.data"
    assert {name.partition("/")[0] for name in names} == PACKAGES | {data, f"kedge-{version}.dist-info"}
    assert files_of_packages() <= names
    listed = run("git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "configs")
    configs = {f"{data}/data/share/kedge/{path}" for path in listed.splitlines()}
    assert {name for name in names if name.startswith(data)} == configs


def files_of_packages() -> set[str]:
    """Every committed file below a package, as the wheel names it."""
    listed = run("git", "-C", str(ROOT), "ls-files", "core", "plugins", "backends").splitlines()
    inside = (path.partition("/")[2] for path in listed if (ROOT / path).exists())
    return {name for name in inside if name.partition("/")[0] in PACKAGES}


def run(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout
