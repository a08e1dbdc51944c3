"""`kedge config …`."""

from __future__ import annotations

import os

import typer

from kedge.cli.options import ConfigFile, Json
from kedge.cli.output import print_json, say

app = typer.Typer(no_args_is_help=True, help="Check and show the configuration.")


@app.callback()
def group() -> None:
    """Check and show the configuration."""


@app.command()
def check(config: ConfigFile = None, json: Json = False) -> None:
    """Read the configuration and load the plugins it names; report every mistake at once."""
    from kedge.placement.strategies import STRATEGIES  # noqa: PLC0415  (slow to import)
    from kedge.registry import load_and_register  # noqa: PLC0415

    load_and_register(config, os.environ, {}, placements=STRATEGIES)
    if json:
        print_json({"valid": True, "file": str(config) if config else None})
    else:
        say(f"{config or 'The built-in configuration'} is in order.")
