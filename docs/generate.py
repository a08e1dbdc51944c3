"""Writes the reference from the code: configuration, command line, REST, hooks, contracts, errors."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import socket
import sys
import typing
from importlib.metadata import entry_points
from pathlib import Path

import typer

import kedge.contracts.events
import kedge.contracts.failures
import kedge.contracts.host
from kedge import errors, hookspecs
from kedge.api.openapi import document
from kedge.cli.main import app
from kedge.config import Settings, describe_settings
from kedge.contracts.failures import ADVICE
from kedge.placement.strategies import STRATEGIES
from kedge.registry.kinds import KINDS
from kedge.registry.loading import load_plugins

if typing.TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kedge.config.describe import SettingDoc

CONFIGURATION = """\
A TOML file, then `KEDGE_*` variables of the environment, then the command line; the later wins.
`configs/local.toml` shows every setting with its default."""

TARGET = Path(__file__).parent / "reference" / "generated"


def configuration() -> str:
    """Every setting with its default, those of the backends that ship with Kedge behind its own."""
    lines = ["# Configuration", "", CONFIGURATION, "", *_settings_table(describe_settings())]
    shipped = tuple(sorted(entry_point.name for entry_point in entry_points(group="kedge")))
    classes = load_plugins(Settings(plugins=shipped), STRATEGIES).classes
    for kind in KINDS:
        for name, registered in classes[kind.section].items():
            table = f"{kind.section}.{name}"
            described = describe_settings(registered.cls.Settings, f"{table}.")
            lines += [
                "",
                f"## `[{table}]`",
                "",
                f"Of the {kind.noun} `{name}`.",
                "",
                *_settings_table(described),
            ]
    return "\n".join(lines)


def _settings_table(settings: Iterable[SettingDoc]) -> list[str]:
    lines = ["| key | environment | default | what it is |", "|---|---|---|---|"]
    for setting in settings:
        default = _default(setting.default)
        lines.append(f"| `{setting.key}` | `{setting.variable}` | `{default}` | {setting.description} |")
    return lines


def _default(value: object) -> str:
    """`value` as it is on any machine."""
    if value == socket.gethostname():
        return "(the machine's name)"
    if isinstance(value, Path) and value.is_relative_to(Path.home()):
        return f"~/{value.relative_to(Path.home())}"
    return str(value).replace("|", "\\|")


def hooks() -> str:
    """Every hook with its exact arguments."""
    lines = ["# Hooks", "", str(inspect.getdoc(hookspecs)), ""]
    for name, function in vars(hookspecs).items():
        if name.startswith("kedge_"):
            lines += [f"## `{name}{_arguments(function)}`", "", str(inspect.getdoc(function)), ""]
    return "\n".join(lines)


def contracts() -> str:
    """Every seam and value, with its promises."""
    lines = ["# Contracts", "", "The seams, each with its promises. Import the names from `kedge`.", ""]
    seams = [sys.modules[kind.contract.__module__] for kind in KINDS]
    for module in (*seams, kedge.contracts.host, kedge.contracts.events, kedge.contracts.failures):
        name = module.__name__.rpartition(".")[2]
        lines += [f"## {name.replace('_', ' ').capitalize()}", "", str(inspect.getdoc(module)), ""]
        for cls in vars(module).values():
            if inspect.isclass(cls) and cls.__module__ == module.__name__:
                lines += _class(cls)
    return "\n".join(lines)


def _class(cls: type) -> list[str]:
    lines = [f"### `{cls.__name__}`", "", str(inspect.getdoc(cls)), ""]
    if getattr(cls, "__dataclass_fields__", None):
        fields = inspect.get_annotations(cls)
        lines += [*(f"- `{name}: {annotation}`" for name, annotation in fields.items()), ""]
    if getattr(cls, "_is_protocol", False):
        for name, member in vars(cls).items():
            if inspect.isfunction(member) and not name.startswith("__"):
                lines += [f"#### `{name}{_arguments(member)}`", "", str(inspect.getdoc(member)), ""]
    return lines


def _arguments(function: typing.Callable[..., object]) -> str:
    signature = inspect.signature(function)
    own = [parameter for name, parameter in signature.parameters.items() if name != "self"]
    return str(signature.replace(parameters=own)).replace("'", "")


def error_tree() -> str:
    """Every error with its code and status."""
    lines = ["# Errors", "", "```text", str(inspect.getdoc(errors)), "```", ""]
    lines += ["| error | code | status | means |", "|---|---:|---:|---|"]
    for module in pkgutil.walk_packages(kedge.__path__, "kedge."):
        if not module.name.startswith(("kedge.testing", "kedge.__main__", "kedge.db.migrations")):
            importlib.import_module(module.name)
    for cls in _with_subclasses(errors.KedgeError):
        first = str(inspect.getdoc(cls)).partition("\n")[0]
        lines.append(f"| `{cls.__name__}` | {cls.code} | {cls.status} | {first} |")
    lines += ["", "## Why a build failed", "", "| class | what to do |", "|---|---|"]
    lines += [f"| `{failure}` | {advice} |" for failure, advice in ADVICE.items()]
    return "\n".join(lines)


def _with_subclasses(cls: type[errors.KedgeError]) -> Iterator[type[errors.KedgeError]]:
    yield cls
    for one in cls.__subclasses__():
        yield from _with_subclasses(one)


def command_line() -> str:
    """Every command with its options."""
    lines = ["# Command line", ""]
    _commands(typer.main.get_command(app), "kedge", lines)
    return "\n".join(lines)


def _commands(command: typing.Any, path: str, lines: list[str]) -> None:
    children = getattr(command, "commands", None)
    if children:
        for name, child in children.items():
            _commands(child, f"{path} {name}", lines)
        return
    lines += [f"## `{path}`", "", (command.help or "").strip(), ""]
    rows = []
    for parameter in command.params:
        if parameter.name in {"help", "install_completion", "show_completion"}:
            continue
        names = ", ".join(f"`{one}`" for one in (*parameter.opts, *parameter.secondary_opts))
        rows.append(f"| {names} | {getattr(parameter, 'help', '') or ''} |")
    if rows:
        lines += ["| option | what it does |", "|---|---|", *rows, ""]


def rest() -> str:
    """Every route of the REST API."""
    lines = ["# REST API", "", "The same as OpenAPI: `GET /openapi.json`.", ""]
    lines += ["| method | path | what it does |", "|---|---|---|"]
    for path, operations in document()["paths"].items():
        for method, operation in operations.items():
            lines.append(f"| {method.upper()} | `{path}` | {operation.get('summary', '')} |")
    return "\n".join(lines)


PAGES = {
    "configuration": configuration,
    "hooks": hooks,
    "contracts": contracts,
    "errors": error_tree,
    "command-line": command_line,
    "rest": rest,
}


def main() -> None:
    """Write every page."""
    TARGET.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (TARGET / f"{name}.md").write_text(page() + "\n")


if __name__ == "__main__":
    main()
