"""`kedge apply` and `kedge export`: workers from a file, and the file from workers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kedge.cli.options import Json
from kedge.cli.output import print_document, print_json, say
from kedge.cli.with_server import with_server
from kedge.client import Server

if TYPE_CHECKING:
    from kedge.apply import Change

SIGNS = {"make": "+", "change": "~", "remove": "-"}


@with_server
def apply(
    server: Server,
    file: Annotated[Path, typer.Argument(help=r"A TOML file with \[workers.NAME] tables.")],
    prune: Annotated[
        bool, typer.Option("--prune/--no-prune", help="Remove what the file does not name.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and change nothing.")] = False,
    json: Json = False,
) -> None:
    """Make workers, triggers and variables what a file says. Applying twice changes nothing."""
    from kedge.apply import plan  # noqa: PLC0415  (only this command plans)
    from kedge.config import load  # noqa: PLC0415

    settings = load(file, os.environ, {})
    changes = plan(server, settings.workers, base_dir=settings.base_dir, environ=os.environ, prune=prune)
    if json:
        print_json([change.as_json() for change in changes])
    for change in changes:
        if not json:
            _show(change)
        if not dry_run:
            change.carry_out()
    if not json:
        _sum_up(changes, dry_run=dry_run)


def _show(change: Change) -> None:
    say(f"{SIGNS[change.action]} {change.what}")
    for detail in change.details:
        say(f"    {detail}")


def _sum_up(changes: list[Change], *, dry_run: bool) -> None:
    if not changes:
        say("Everything is as the file says.")
    elif dry_run:
        say(f"{len(changes)} changes planned; none was made.")
    else:
        say(f"{len(changes)} changes made.")


@with_server
def export(
    server: Server,
    json: Json = False,
) -> None:
    """Write the file that describes the account's workers. Secrets become references."""
    from kedge.apply import export_workers  # noqa: PLC0415  (only this command exports)

    text = export_workers(server)
    if json:
        import tomllib  # noqa: PLC0415

        print_json(tomllib.loads(text))
    else:
        print_document(text)
