"""What plugins may import is listed, complete and nothing else."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest

import kedge
import kedge.contracts
from kedge import errors

ROOT = Path(__file__).parents[2]
SHIPPED = sorted(
    path for folder in ("plugins", "backends") for path in (ROOT / folder).glob("kedge_*/**/*.py")
)
CONTRACTS = [module.name for module in pkgutil.iter_modules(kedge.contracts.__path__, "kedge.contracts.")]


def public_classes(module: str) -> set[str]:
    members = vars(importlib.import_module(module)).items()
    return {
        name
        for name, one in members
        if inspect.isclass(one) and one.__module__ == module and not name.startswith("_")
    }


def test_the_public_names_are_sorted() -> None:
    assert kedge.__all__ == sorted(kedge.__all__)


def test_the_public_names_can_be_imported() -> None:
    assert [name for name in kedge.__all__ if not hasattr(kedge, name)] == []


def test_every_name_of_the_package_is_public() -> None:
    there = {name for name, one in vars(kedge).items() if name[0] != "_" and not inspect.ismodule(one)}
    assert there - {"TYPE_CHECKING", "Any", "annotations"} <= set(kedge.__all__)


@pytest.mark.parametrize("module", [*CONTRACTS, "kedge.errors"])
def test_every_contract_value_and_error_is_public(module: str) -> None:
    assert public_classes(module) <= set(kedge.__all__)


def test_every_error_has_a_code_of_its_own_or_of_its_parent() -> None:
    classes = [one for one in vars(errors).values() if inspect.isclass(one)]
    own = [vars(one)["code"] for one in classes if "code" in vars(one)]
    assert len(own) == len(set(own))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_we_ship_imports_only_public_names(path: Path) -> None:
    """A plugin of ours has no door that a stranger's has not."""
    private = [name for name in imports_of(path) if name.startswith("kedge.")]
    assert private == []


def imports_of(path: Path) -> list[str]:
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
    return names
