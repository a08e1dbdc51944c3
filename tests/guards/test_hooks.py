"""Every hook is documented, typed, told by the registry, and tested."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

from kedge import hookspecs
from kedge.registry import Registry

ROOT = Path(__file__).parents[2]
HOOKS = {name: one for name, one in vars(hookspecs).items() if getattr(one, "kedge_spec", None) is not None}
EVENTS = sorted(name for name in HOOKS if not name.startswith("kedge_register_"))
TESTS = ast.parse((ROOT / "tests/core/registry/test_hooks.py").read_text())


def test_the_hooks_are_found() -> None:
    assert len(HOOKS) > 15
    assert all(name.startswith("kedge_") for name in HOOKS)


@pytest.mark.parametrize("hook", sorted(HOOKS))
def test_a_hook_is_documented_in_sentences(hook: str) -> None:
    text = inspect.getdoc(HOOKS[hook]) or ""
    assert text[:1].isupper()
    assert text.endswith(".")


@pytest.mark.parametrize("hook", sorted(HOOKS))
def test_a_hook_is_typed(hook: str) -> None:
    signature = inspect.signature(HOOKS[hook])
    assert signature.return_annotation is not signature.empty
    assert all(one.annotation is not one.empty for one in signature.parameters.values())


@pytest.mark.parametrize("hook", sorted(HOOKS))
def test_a_hook_has_a_test_named_after_it(hook: str) -> None:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    names = {node.name for node in TESTS.body if isinstance(node, functions)}
    assert f"test_hook_{hook}" in names


@pytest.mark.parametrize("hook", EVENTS)
def test_the_registry_tells_an_event_with_the_arguments_of_its_hook(hook: str) -> None:
    method = inspect.signature(getattr(Registry, hook.removeprefix("kedge_")))
    given = {name: one.annotation for name, one in method.parameters.items() if name != "self"}
    wanted = {name: one.annotation for name, one in inspect.signature(HOOKS[hook]).parameters.items()}
    assert given == wanted


def test_only_the_hooks_themselves_know_pluggy() -> None:
    core = ROOT / "core"
    users = {
        str(path.relative_to(core)) for path in core.rglob("*.py") if "import pluggy" in path.read_text()
    }
    assert users == {"kedge/hookspecs.py", "kedge/registry/hooks.py"}
