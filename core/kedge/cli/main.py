"""`kedge`: every command, put together."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from kedge.cli import builds, caches, config, deployments, hooks, placement, secrets, workers
from kedge.cli.apply import apply, export
from kedge.cli.clean import clean
from kedge.cli.demo import demo
from kedge.cli.deployments import deploy, rollback
from kedge.cli.doctor import doctor
from kedge.cli.failure import CommandFailed
from kedge.cli.git_credential import git_credential
from kedge.cli.plugins import plugins
from kedge.cli.queue import queue
from kedge.cli.up import up
from kedge.errors import KedgeError
from kedge.terminal import make_safe

app = typer.Typer(
    name="kedge",
    help="Push a commit, watch it build, see it served.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:  # noqa: FBT001  (typer calls it)
    if asked:
        from importlib.metadata import version  # noqa: PLC0415  (for this only)

        typer.echo(f"kedge {version('kedge')}")
        raise typer.Exit


@app.callback()
def _global(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


app.command()(up)
app.command()(demo)
app.add_typer(workers.app, name="worker")
app.add_typer(workers.app, name="workers", hidden=True)
app.add_typer(builds.app, name="builds")
app.add_typer(caches.app, name="cache")
app.add_typer(hooks.app, name="hooks")
app.command()(queue)
app.command()(clean)
app.command()(apply)
app.command()(export)
app.command()(deploy)
app.add_typer(deployments.app, name="deployments")
app.add_typer(secrets.app, name="secret")
app.command()(rollback)
app.add_typer(placement.app, name="placement")
app.add_typer(config.app, name="config")
app.command("git-credential")(git_credential)
app.command()(plugins)
app.command()(doctor)


def main() -> None:
    """Run the command line; a failure is one message on stderr and status 1."""
    try:
        app()
    except (CommandFailed, KedgeError) as error:
        sys.stderr.write(make_safe(f"kedge: {error}\n"))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
