"""Options that many commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text for people.")]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        envvar="KEDGE_DATA_DIR",
        help="The data dir of the Kedge on this machine.",
    ),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", envvar="KEDGE_CONFIG", help="A TOML file; without one the defaults hold."),
]
Worker = Annotated[str, typer.Argument(help="The worker's name or id.")]
Build = Annotated[str, typer.Argument(help="The build's uuid, or enough of its beginning.")]
