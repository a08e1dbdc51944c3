"""`kedge worker …`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from kedge.cli.builds import follow_log, print_log
from kedge.cli.failure import CommandFailed
from kedge.cli.options import Json, Worker
from kedge.cli.output import ago, print_json, print_table, say
from kedge.cli.with_server import with_server
from kedge.client import Server
from kedge.errors import KedgeError

app = typer.Typer(no_args_is_help=True, help="Make, list and remove workers.")


@app.command()
@with_server
def create(
    server: Server,
    name: Annotated[str, typer.Argument(help="Lowercase letters, digits and dashes.")],
    build: Annotated[str, typer.Option("--build", help="The build command.")] = "",
    deploy: Annotated[str, typer.Option("--deploy", help="The deploy command.")] = "",
    root: Annotated[str, typer.Option("--root", help="The folder of the repository to work in.")] = "/",
    branch: Annotated[str, typer.Option("--branch", help="The production branch.")] = "main",
    previews: Annotated[
        bool, typer.Option("--previews/--no-previews", help="Build every other branch as a preview.")
    ] = True,
    cache: Annotated[
        bool, typer.Option("--cache", help="Let builds keep what package managers download.")
    ] = False,
    json: Json = False,
) -> None:
    """Make a worker with a repository that Kedge hosts and triggers that build it."""
    _check_options(build=build, deploy=deploy, root=root, branch=branch)
    worker = create_worker(
        server,
        name,
        build=build,
        deploy=deploy,
        root=root,
        branch=branch,
        previews=previews,
        cache=cache,
    )
    if json:
        print_json(worker)
        return
    say(f"Worker {name} is ready. Push to it:\n")
    say(f"    git push {worker['repository']} HEAD:{branch}\n")
    say("Git asks for a name and a password: any name will do, the password is your API token.")
    say("Or let Kedge answer:\n")
    say(f"    git config --global credential.{server.url}.helper '!kedge git-credential'")


def _check_options(*, build: str, deploy: str, root: str, branch: str) -> None:
    """Raise `CommandFailed`, naming the option, for what the server would not take."""
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415  (slow to import)

    from kedge.api.rules import BranchPattern, Command, Folder  # noqa: PLC0415  (as above)
    from kedge.config.wording import in_words  # noqa: PLC0415  (as above)

    given: tuple[tuple[str, Any, str], ...] = (
        ("--build", Command, build),
        ("--deploy", Command, deploy),
        ("--root", Folder, root),
        ("--branch", BranchPattern, branch),
    )
    for option, kind, value in given:
        try:
            TypeAdapter(kind).validate_python(value)
        except ValidationError as error:
            raise CommandFailed(f"{option}: {in_words(error.errors()[0])}") from None


def create_worker(
    server: Server,
    name: str,
    *,
    build: str,
    deploy: str,
    root: str,
    branch: str,
    previews: bool,
    cache: bool = False,
) -> dict[str, Any]:
    """Make the worker, its hosted repository and its triggers; tell where to push.

    If the server refuses a part, the worker is taken back.
    """
    rules: list[tuple[str, list[str], list[str]]] = [("production", [branch], [])]
    if previews:
        rules.append(("preview", ["*"], [branch]))
    settings = {
        "build_command": build,
        "deploy_command": deploy,
        "root_directory": root,
        "build_caching_enabled": cache,
    }
    worker = server.post("/workers/workers", {"name": name})
    try:
        triggers = _make_triggers(server, worker, rules, settings)
    except KedgeError:
        server.delete(f"/workers/workers/{worker['id']}")
        raise
    repository = f"{server.url}/git/{server.account}/{name}.git"
    return {**worker, "repository": repository, "triggers": triggers}


def _make_triggers(
    server: Server,
    worker: dict[str, Any],
    rules: list[tuple[str, list[str], list[str]]],
    settings: dict[str, Any],
) -> list[Any]:
    """Host a repository of the worker's name, and make its triggers."""
    name = worker["name"]
    connection = server.put(
        "/builds/repos/connections",
        {
            "provider_type": "git",
            "provider_account_id": server.account,
            "provider_account_name": server.account,
            "repo_id": name,
            "repo_name": name,
        },
    )
    return [
        server.post(
            "/builds/triggers",
            {
                "external_script_id": worker["id"],
                "repo_connection_uuid": connection["repo_connection_uuid"],
                "build_token_uuid": None,
                "trigger_name": trigger_name,
                "branch_includes": includes,
                "branch_excludes": excludes,
                "path_includes": ["*"],
                "path_excludes": [],
                **settings,
            },
        )
        for trigger_name, includes, excludes in rules
    ]


@app.command("list")
@with_server
def list_workers(
    server: Server,
    json: Json = False,
) -> None:
    """List the workers of the account."""
    workers = server.get("/workers/workers")
    if json:
        print_json(workers)
        return
    rows = [(worker["name"], worker["id"], ago(worker["created_on"])) for worker in workers]
    print_table(("NAME", "ID", "MADE"), rows, empty="No workers yet. Make one: kedge worker create NAME")


@app.command()
@with_server
def show(
    server: Server,
    worker: Worker,
    json: Json = False,
) -> None:
    """Show a worker and its triggers."""
    found = server.get(f"/workers/workers/{worker}")
    triggers = server.get(f"/builds/workers/{found['id']}/triggers")
    if json:
        print_json({**found, "triggers": triggers})
        return
    say(f"{found['name']}  {found['id']}  made {ago(found['created_on'])}")
    for trigger in triggers:
        say(f"\n{trigger['trigger_name']}  {trigger['trigger_uuid']}")
        say(f"  branches  {_rules(trigger['branch_includes'], trigger['branch_excludes'])}")
        say(f"  paths     {_rules(trigger['path_includes'], trigger['path_excludes'])}")
        say(f"  root      {trigger['root_directory']}")
        say(f"  build     {trigger['build_command'] or '(none)'}")
        say(f"  deploy    {trigger['deploy_command'] or '(none)'}")
        say(f"  cache     {'on' if trigger['build_caching_enabled'] else 'off'}")


@app.command()
@with_server
def logs(
    server: Server,
    worker: Worker,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until interrupted.")] = False,
    tail: Annotated[int, typer.Option("--tail", help="Start this many lines from the end.")] = 100,
    node: Annotated[str | None, typer.Option("--node", help="What was printed on this node alone.")] = None,
    json: Json = False,
) -> None:
    """Print what the worker's instances print, on all nodes."""
    path = f"/workers/workers/{worker}/logs"
    start: dict[str, Any] = {"tail": tail} | ({} if node is None else {"node": node})
    if follow:
        follow_log(server, path, start, as_json=json)
    else:
        print_log(server, path, start, as_json=json)


@app.command()
@with_server
def instances(server: Server, worker: Worker, json: Json = False) -> None:
    """List what runs of a worker, on all nodes."""
    found = server.get(f"/workers/workers/{worker}/instances")
    if json:
        print_json(found)
        return
    rows = [
        (
            one["id"],
            one["node"],
            one["version_id"][:8],
            one["address"],
            str(one["in_flight"]),
            f"{one['age_seconds']:.0f} s",
        )
        for one in found["instances"]
    ]
    columns = ("INSTANCE", "NODE", "VERSION", "ADDRESS", "REQUESTS", "AGE")
    print_table(columns, rows, empty=f"No instance of {worker} runs on {', '.join(found['nodes'])}.")
    for name in found["silent"]:
        say(f"node {name} did not answer")
    for version_id, reason in found["failures"].items():
        say(f"version {version_id[:8]} failed: {reason}")


@app.command()
@with_server
def versions(server: Server, worker: Worker, json: Json = False) -> None:
    """List the latest versions of a worker, and the share of the traffic that each gets."""
    found = server.get(f"/workers/workers/{worker}/versions")["items"]
    if json:
        print_json(found)
        return
    deployments = server.get(f"/workers/workers/{worker}/deployments")["deployments"]
    active = (one["versions"] for one in deployments if one["kedge"]["state"] == "active")
    shares = {share["version_id"]: f"{share['percentage']:g} %" for share in next(active, [])}
    rows = [
        (
            version["id"][:8],
            str(version["number"]),
            version["kedge"]["kind"],
            version["kedge"]["branch"] or "",
            (version["kedge"]["commit_hash"] or "")[:8],
            shares.get(version["id"], ""),
            ago(version["metadata"]["created_on"]),
            version["annotations"].get("workers/message", ""),
        )
        for version in found
    ]
    columns = ("VERSION", "NUMBER", "KIND", "BRANCH", "COMMIT", "SERVES", "UPLOADED", "MESSAGE")
    print_table(columns, rows, empty=f"{worker} has no versions yet.")


@app.command()
@with_server
def delete(
    server: Server,
    worker: Worker,
    json: Json = False,
) -> None:
    """Remove a worker: its triggers, builds, versions and deployments. The repository stays."""
    result = server.delete(f"/workers/workers/{worker}")
    if json:
        print_json(result)
    else:
        say(f"Worker {worker} is gone.")


def _rules(includes: list[str], excludes: list[str]) -> str:
    text = " ".join(includes)
    return f"{text} but not {' '.join(excludes)}" if excludes else text
