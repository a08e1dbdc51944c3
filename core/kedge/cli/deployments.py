"""`kedge deploy`, `kedge deployments`, `kedge rollback`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from kedge.cli.failure import CommandFailed
from kedge.cli.options import Json, Worker
from kedge.cli.output import ago, print_json, print_table, say
from kedge.cli.with_server import with_server
from kedge.client import Server

UUID_LENGTH = 36

app = typer.Typer(no_args_is_help=True, help="What a worker serves: list, split, promote.")


@with_server
def deploy(
    server: Server,
    folder: Annotated[
        Path | None,
        typer.Argument(
            help="The folder to deploy, if kedge.toml names none.",
            exists=True,
            file_okay=False,
            readable=True,
        ),
    ] = None,
    *,
    worker: Annotated[str, typer.Option("--worker", envvar="KEDGE_WORKER", help="The worker's name or id.")],
    message: Annotated[str, typer.Option("--message", help="What changed.")] = "",
    promote: Annotated[
        bool, typer.Option("--promote/--no-promote", help="Make it live, or only upload it.")
    ] = True,
    json: Json = False,
) -> None:
    """Upload a folder as a new version and make it live. Only files that are new travel."""
    from kedge_runner.deploy import deploy_directory  # noqa: PLC0415  (only this command uploads)
    from kedge_runner.errors import RunnerError  # noqa: PLC0415

    alias = os.environ.get("KEDGE_PREVIEW_ALIAS")
    try:
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
    except (RunnerError, OSError, ValueError) as error:
        raise CommandFailed(str(error)) from error
    if json:
        print_json(result)
    else:
        say(f"Version {result['number']} of {worker}: {result['alias_url'] or result['url']}")
    if not json and result.get("reason"):
        say(f"It does not serve in production: {result['reason']}")
    if not (json or promote):
        say(f"It serves nobody else yet: kedge deployments promote {worker} {result['version_id'][:8]}")


@app.command("list")
@with_server
def list_deployments(server: Server, worker: Worker, json: Json = False) -> None:
    """List what a worker has served, newest first."""
    found = server.get(f"/workers/workers/{worker}/deployments")["deployments"]
    if json:
        print_json(found)
        return
    serving = _serving(found)
    rows = [
        (
            deployment["id"][:8],
            _split(deployment),
            _state(deployment, serving),
            deployment["source"],
            ago(deployment["created_on"]),
            deployment["annotations"].get("workers/message", ""),
        )
        for deployment in found
    ]
    columns = ("DEPLOYMENT", "VERSION", "STATE", "SOURCE", "SINCE", "MESSAGE")
    print_table(columns, rows, empty=f"{worker} has not been deployed yet.")


@app.command()
@with_server
def show(
    server: Server,
    worker: Worker,
    deployment: Annotated[
        str | None, typer.Argument(help="Its id, or enough of its beginning; without it, the latest.")
    ] = None,
    json: Json = False,
) -> None:
    """Show one deployment, and why it failed if it did."""
    listed = server.get(f"/workers/workers/{worker}/deployments")["deployments"]
    found = _deployment(listed, worker, deployment)
    if json:
        print_json(found)
    else:
        _print_deployment(found, _serving(listed))


@app.command()
@with_server
def create(
    server: Server,
    worker: Worker,
    versions: Annotated[
        list[str], typer.Argument(help="VERSION, or two as VERSION@PERCENT; ids or their beginnings.")
    ],
    message: Annotated[str, typer.Option("--message", help="What it is for.")] = "",
    json: Json = False,
) -> None:
    """Let a version serve, or split the traffic between two: a gradual rollout step by step."""
    shares = [_share(server, worker, one) for one in versions]
    _create(server, worker, shares, message, json=json)


@app.command()
@with_server
def promote(
    server: Server,
    worker: Worker,
    version: Annotated[
        str | None,
        typer.Argument(help="The version; without it, the newest of those that serve."),
    ] = None,
    json: Json = False,
) -> None:
    """Give one version all the traffic: the end of a gradual rollout."""
    if version is None:
        found = server.get(f"/workers/workers/{worker}/deployments")["deployments"]
        serving = _serving(found)
        if serving is None:
            raise CommandFailed(f"{worker} serves nothing yet; name the version")
        ids = {share["version_id"] for share in serving["versions"]}
        listed = server.get(f"/workers/workers/{worker}/versions")["items"]
        version = next((one["id"] for one in listed if one["id"] in ids), None)
    if version is None:
        raise CommandFailed("the versions that serve are not among the latest; name one")
    share = {"version_id": _version(server, worker, version), "percentage": 100}
    _create(server, worker, [share], "", json=json)


def _create(server: Server, worker: str, shares: list[dict[str, Any]], message: str, *, json: bool) -> None:
    """Make the deployment, and wait until it serves or has failed."""
    path = f"/workers/workers/{worker}/deployments"
    annotations = {"workers/message": message} if message else {}
    made = server.post(path, {"strategy": "percentage", "versions": shares, "annotations": annotations})
    made = _settled(server, worker, made)
    if json:
        print_json(made)
    else:
        _print_deployment(made, made)
    if made["kedge"]["state"] == "failed":
        raise typer.Exit(1)


def _settled(server: Server, worker: str, made: dict[str, Any]) -> dict[str, Any]:
    """The deployment, once it serves or has failed."""
    while made["kedge"]["state"] == "starting":
        made = server.get(f"/workers/workers/{worker}/deployments/{made['id']}", wait=True)
    return made


def _share(server: Server, worker: str, text: str) -> dict[str, Any]:
    version, at, percent = text.partition("@")
    try:
        percentage = float(percent.rstrip("%")) if at else 100.0
    except ValueError:
        raise CommandFailed(f"{text!r} is not VERSION@PERCENT, such as 1a2b3c4d@10") from None
    return {"version_id": _version(server, worker, version), "percentage": percentage}


def _version(server: Server, worker: str, beginning: str) -> str:
    listed = server.get(f"/workers/workers/{worker}/versions")["items"]
    found = [one["id"] for one in listed if beginning and one["id"].startswith(beginning)]
    if len(found) != 1 and len(beginning) < UUID_LENGTH:
        raise CommandFailed(
            f"{len(found)} of the latest versions of {worker} begin with {beginning!r}; "
            f"see kedge worker versions {worker}"
        )
    return str(found[0]) if len(found) == 1 else beginning


def _deployment(listed: list[dict[str, Any]], worker: str, beginning: str | None) -> dict[str, Any]:
    if beginning is None and listed:
        return listed[0]
    found = [one for one in listed if beginning and one["id"].startswith(beginning)]
    if len(found) != 1:
        raise CommandFailed(f"{len(found)} of the latest deployments of {worker} begin with {beginning!r}")
    return found[0]


def _serving(listed: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Of deployments, newest first, the one that serves."""
    return next((one for one in listed if one["kedge"]["state"] == "active"), None)


def _state(deployment: dict[str, Any], serving: dict[str, Any] | None) -> str:
    """How a deployment stands: what was made active before the one that serves has served."""
    state = str(deployment["kedge"]["state"])
    if state != "active":
        return state
    return "serves" if deployment == serving else "served"


def _print_deployment(deployment: dict[str, Any], serving: dict[str, Any] | None) -> None:
    say(f"{deployment['id']}  {_state(deployment, serving)}")
    say(f"  versions  {_split(deployment)}")
    failure = deployment["kedge"]["failure"]
    if failure is None:
        return
    say(f"  failed    {failure['reason']}")
    for probe in failure["probes"]:
        say(f"  probe     {probe}")
    for line in failure["log_tail"].splitlines():
        say(f"  printed   {line}")


def _split(deployment: dict[str, Any]) -> str:
    return ", ".join(
        f"{share['version_id'][:8]} {share['percentage']:g} %" for share in deployment["versions"]
    )


@with_server
def rollback(
    server: Server,
    worker: Worker,
    version: Annotated[
        str | None,
        typer.Option("--to", help="The version's id or its beginning; without it, the one before."),
    ] = None,
    json: Json = False,
) -> None:
    """Serve an earlier version again: at once, or once its instances answer."""
    wanted = None if version is None else _version(server, worker, version)
    made = server.post(f"/workers/workers/{worker}/rollback", {"version_id": wanted})
    made = _settled(server, worker, made)
    if json:
        print_json(made)
    elif made["kedge"]["state"] == "failed":
        _print_deployment(made, made)
    else:
        say(f"{worker} serves version {made['versions'][0]['version_id'][:8]} again.")
    if made["kedge"]["state"] == "failed":
        raise typer.Exit(1)
