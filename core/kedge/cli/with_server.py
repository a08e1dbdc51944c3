"""Gives a command the server it talks to, and the options that name one."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, ParamSpec

import typer

from kedge.cli.options import DataDir
from kedge.client import Server, find_server

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

P = ParamSpec("P")

PANEL = "Server"
Url = Annotated[
    str | None, typer.Option("--url", envvar="KEDGE_URL", help="Where Kedge listens.", rich_help_panel=PANEL)
]
Token = Annotated[
    str | None, typer.Option("--token", envvar="KEDGE_TOKEN", help="An API token.", rich_help_panel=PANEL)
]
AccountName = Annotated[
    str, typer.Option("--account", envvar="KEDGE_ACCOUNT", help="Name or id.", rich_help_panel=PANEL)
]
OPTIONS: dict[str, tuple[Any, Any]] = {
    "url": (Url, None),
    "token": (Token, None),
    "account": (AccountName, "default"),
    "data_dir": (DataDir, None),
}


def with_server(function: Callable[Concatenate[Server, P], None]) -> Callable[..., None]:
    """A command made of `function(server, …)`: the server comes from `--url` and its like."""
    call: Callable[..., None] = function
    own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]

    def command(
        *, url: str | None, token: str | None, account: str, data_dir: Path | None, **options: Any
    ) -> None:
        call(find_server(url, token, account, data_dir), **options)

    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in OPTIONS.items()
    ]
    parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own] + added
    command.__name__ = function.__name__
    command.__doc__ = function.__doc__
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command
