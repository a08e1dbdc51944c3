"""`kedge secret …`."""

from __future__ import annotations

import sys
from io import TextIOWrapper
from typing import Annotated

import typer

from kedge.cli.failure import CommandFailed
from kedge.cli.options import Json, Worker
from kedge.cli.output import print_json, print_table, say
from kedge.cli.with_server import with_server
from kedge.client import Server

app = typer.Typer(no_args_is_help=True, help="Secrets that instances of a worker are given.")
Name = Annotated[str, typer.Argument(help="The name of its environment variable.")]


@app.command()
@with_server
def put(server: Server, worker: Worker, name: Name, json: Json = False) -> None:
    """Set a secret. Its text is asked for, or read from standard input."""
    text = typer.prompt(f"{name}", hide_input=True) if sys.stdin.isatty() else _from_standard_input()
    result = server.put(f"/workers/workers/{worker}/secrets", {"name": name, "text": text})
    if json:
        print_json(result)
    else:
        say(f"Versions of {worker} that are uploaded from now on have {name}.")


def _from_standard_input() -> str:
    try:
        return TextIOWrapper(sys.stdin.buffer, encoding="utf-8").read().rstrip("\n")
    except UnicodeDecodeError as error:
        raise CommandFailed(
            "what came on standard input is not UTF-8 text, and variables hold text: encode it, as by base64"
        ) from error


@app.command("list")
@with_server
def list_secrets(server: Server, worker: Worker, json: Json = False) -> None:
    """List the names of a worker's secrets."""
    found = server.get(f"/workers/workers/{worker}/secrets")
    if json:
        print_json(found)
    else:
        print_table(("NAME",), [(one["name"],) for one in found], empty=f"{worker} has no secrets.")


@app.command()
@with_server
def delete(server: Server, worker: Worker, name: Name, json: Json = False) -> None:
    """Forget a secret. Versions that have it keep it."""
    result = server.delete(f"/workers/workers/{worker}/secrets/{name}")
    if json:
        print_json(result)
    else:
        say(f"Versions of {worker} that are uploaded from now on have no {name}.")
