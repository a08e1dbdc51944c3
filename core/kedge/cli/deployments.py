"""`kedge deploy`, `kedge deployments`, `kedge rollback`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from kedge.cli.options import Json, Worker
from kedge.cli.output import ago, print_json, print_table, say
from kedge.cli.with_server import with_server
from kedge.client import Server


@with_server
def deploy(
    server: Server,
    folder: Annotated[
        Path, typer.Argument(help="The folder to serve.", exists=True, file_okay=False, readable=True)
    ],
    worker: Annotated[str, typer.Option("--worker", envvar="KEDGE_WORKER", help="The worker's name or id.")],
    message: Annotated[str, typer.Option("--message", help="What changed.")] = "",
    promote: Annotated[
        bool, typer.Option("--promote/--no-promote", help="Make it live, or only upload it.")
    ] = True,
    json: Json = False,
) -> None:
    """Upload a folder as a new version and make it live. Only files that are new travel."""
    from kedge_runner.deploy import deploy_directory  # noqa: PLC0415  (only this command uploads)

    alias = os.environ.get("KEDGE_PREVIEW_ALIAS")
    result: dict[str, Any] = deploy_directory(
        folder,
        url=server.url,
        token=server.token,
        account=server.account,
        worker=worker,
        deploy=promote and alias is None,
        alias=alias,
        message=message,
    )
    if json:
        print_json(result)
    else:
        say(f"Version {result['number']} of {worker}: {result['alias_url'] or result['url']}")


@with_server
def deployments(server: Server, worker: Worker, json: Json = False) -> None:
    """List what a worker has served, newest first."""
    found = server.get(f"/workers/workers/{worker}/deployments")["deployments"]
    if json:
        print_json(found)
        return
    rows = [
        (
            deployment["id"][:8],
            ", ".join(
                f"{share['version_id'][:8]} {share['percentage']} %" for share in deployment["versions"]
            ),
            deployment["source"],
            ago(deployment["created_on"]),
            deployment["annotations"].get("workers/message", ""),
        )
        for deployment in found
    ]
    columns = ("DEPLOYMENT", "VERSION", "SOURCE", "SINCE", "MESSAGE")
    print_table(columns, rows, empty=f"{worker} has not been deployed yet.")


@with_server
def rollback(
    server: Server,
    worker: Worker,
    version: Annotated[
        str | None, typer.Option("--to", help="The version's id; without it, the one before.")
    ] = None,
    json: Json = False,
) -> None:
    """Serve an earlier version again, at once."""
    result = server.post(f"/workers/workers/{worker}/rollback", {"version_id": version})
    if json:
        print_json(result)
    else:
        say(f"{worker} serves version {result['versions'][0]['version_id'][:8]} again.")
