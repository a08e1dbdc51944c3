"""`kedge builds …`."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
import typer

from kedge.build_states import Outcome, Status
from kedge.builds.matching import matches_rules
from kedge.cli.failure import CommandFailed
from kedge.cli.options import Build, Json
from kedge.cli.output import (
    ago,
    coloured,
    print_json,
    print_json_lines,
    print_table,
    say,
    terminal,
    took,
)
from kedge.cli.with_server import with_server
from kedge.client import Server

app = typer.Typer(no_args_is_help=True, help="See, follow, cancel and retry builds.")

UUID_LENGTH = 36
STATES = ", ".join((*Status, *Outcome))
State = Annotated[str | None, typer.Option("--status", help=f"Only builds that are so: {STATES}.")]


@app.command("list")
@with_server
def list_builds(
    server: Server,
    worker: Annotated[str | None, typer.Option("--worker", help="Only this worker's.")] = None,
    branch: Annotated[str | None, typer.Option("--branch", help="Only this branch's.")] = None,
    status: State = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="How many, newest first.")] = 20,
    json: Json = False,
) -> None:
    """List builds, newest first."""
    if status is not None and status not in {*Status, *Outcome}:
        raise CommandFailed(f"--status: must be one of {STATES}")
    state = "outcome" if status in set(Outcome) else "status"
    filters = {"worker": worker, "branch": branch, state: status}
    given = {name: value for name, value in filters.items() if value is not None}
    builds = server.get("/builds", per_page=limit, **given)
    if json:
        print_json(builds)
        return
    rows = [_row(build) for build in builds]
    columns = ("BUILD", "WORKER", "BRANCH", "COMMIT", "STATUS", "STARTED", "TOOK")
    print_table(columns, rows, empty="No build is like that." if given else "No builds yet. Push a commit.")


def _row(build: dict[str, Any]) -> tuple[Any, ...]:
    metadata = build["build_trigger_metadata"]
    return (
        build["build_uuid"][:8],
        build["kedge"]["worker"],
        metadata["branch"],
        metadata["commit_hash"][:8],
        coloured(build["build_outcome"] or build["status"]),
        ago(build["created_on"]),
        took(build["initializing_on"], build["stopped_on"]),
    )


@app.command()
@with_server
def show(
    server: Server,
    build: Build,
    json: Json = False,
) -> None:
    """Show one build: what it is, how it stands, why it waits, failed or was skipped."""
    found = server.get(f"/builds/builds/{full_uuid(server, build)}")
    if json:
        print_json(found)
    else:
        _print_build(found)


def _print_build(build: dict[str, Any]) -> None:
    metadata, extra = build["build_trigger_metadata"], build["kedge"]
    outcome = build["build_outcome"] or build["status"]
    say(f"{build['build_uuid']}  {outcome}")
    say(f"  worker   {extra['worker']}  (attempt {extra['attempt']})")
    message = metadata["commit_message"].partition("\n")[0]
    say(f"  commit   {metadata['commit_hash'][:12]} on {metadata['branch']}  {message}")
    if not extra["trusted"]:
        say("  trust    none: sent by somebody who may not write to the repository, and so not deployed")
    say(f"  queued   {ago(build['created_on'])}")
    if build["initializing_on"]:
        say(f"  took     {took(build['initializing_on'], build['stopped_on'])}")
    for phase in extra.get("phases") or []:
        say(f"  {phase['name']:<12} {phase['duration_ms'] / 1000:8.2f} s  {phase['outcome']}")
    if wait := extra.get("wait"):
        say(f"  waits    place {wait['position']}: {wait['reason']}")
    if outcome == Outcome.SKIPPED:
        say(f"  skipped  {extra['message']}")
    if failure := extra.get("failure"):
        say(f"  failed   {failure['class']}: {failure['message']}")
        say(f"           {failure['advice']}")
    if extra.get("url"):
        say(f"  url      {extra['url']}")
    if build.get("preview_url"):
        say(f"  preview  {build['preview_url']}")


@app.command()
@with_server
def logs(
    server: Server,
    build: Build,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the build ends.")] = False,
    tail: Annotated[int | None, typer.Option("--tail", help="Start this many lines from the end.")] = None,
    json: Json = False,
) -> None:
    """Print a build's log. With -f the exit status tells how the build ended."""
    of_build = f"/builds/builds/{full_uuid(server, build)}"
    start = {} if tail is None else {"tail": tail}
    outcome = None
    if follow:
        outcome = follow_log(server, f"{of_build}/logs", start, as_json=json)
    else:
        print_log(server, f"{of_build}/logs", start, as_json=json)
    if not json and (outcome == Outcome.SKIPPED or not follow):
        _say_why_skipped(server, of_build)
    if follow:
        raise typer.Exit(0 if outcome in {Outcome.SUCCESS, Outcome.SKIPPED} else 1)


def _say_why_skipped(server: Server, path: str) -> None:
    """Such a build need not have a log that could tell."""
    build = server.get(path)
    if build["build_outcome"] == Outcome.SKIPPED:
        say(f"This build was skipped. {build['kedge']['message']}")


def print_log(server: Server, path: str, start: dict[str, Any], *, as_json: bool) -> None:
    """Print what there is of a log now."""
    cursor, more = start, True
    with terminal() as show:
        while more:
            page = server.get(path, **cursor)
            if as_json:
                print_json_lines({"time": second, "text": text} for second, text in page["lines"])
            else:
                show("".join(f"{text}\n" for _, text in page["lines"]))
            cursor, more = {**start, "cursor": page["cursor"]}, page["truncated"]


def follow_log(server: Server, path: str, start: dict[str, Any], *, as_json: bool) -> str | None:
    """Print a log as it grows; return the outcome."""
    outcome = None
    with terminal() as show:
        for event in server.events(path, **start):
            data = orjson.loads(event.data)
            if event.event == "status":
                outcome = data["build_outcome"]
            if as_json:
                print_json_lines([{"event": event.event, **data}])
            elif event.event == "log":
                show(data["text"])
    return outcome


@app.command()
@with_server
def cancel(
    server: Server,
    build: Build,
    json: Json = False,
) -> None:
    """End a build, waiting or running."""
    result = server.put(f"/builds/builds/{full_uuid(server, build)}/cancel")
    if json:
        print_json(result)
        return
    short = result["build_uuid"][:8]
    if result["build_outcome"] is None:
        say(f"Build {short} is told to end and has not yet: see kedge builds show {short}")
    else:
        say(f"Build {short} is {result['build_outcome']}.")


@app.command()
@with_server
def retry(
    server: Server,
    build: Build,
    json: Json = False,
) -> None:
    """Run a stopped build again, as its next attempt, with the settings of now."""
    result = server.put(f"/builds/builds/{full_uuid(server, build)}/retry")
    if json:
        print_json(result)
    else:
        say(f"Build {result['build_uuid'][:8]} waits for its next attempt.")


@app.command()
@with_server
def start(
    server: Server,
    worker: Annotated[str, typer.Argument(help="The worker's name or id.")],
    branch: Annotated[str | None, typer.Option("--branch", help="Build this branch's newest commit.")] = None,
    commit: Annotated[str | None, typer.Option("--commit", help="Build this commit.")] = None,
    json: Json = False,
) -> None:
    """Build a branch or a commit without a push; the branch of production if none is named."""
    if branch and commit:
        raise CommandFailed("name a branch or a commit, not both")
    tag = server.get(f"/workers/workers/{worker}")["id"]
    triggers = server.get(f"/builds/workers/{tag}/triggers")
    if not triggers:
        raise CommandFailed(
            f"worker {worker} has no trigger, which would say what to run: write a file with a table "
            f"[workers.{worker}] and `kedge apply` it, or delete the worker and make it by "
            "`kedge worker create`"
        )
    if commit is None:
        branch = branch or _production_branch(triggers)
    body = {"commit_hash": commit} if commit else {"branch": branch}
    result = server.post(f"/builds/triggers/{_trigger_of(triggers, branch)}/builds", body)
    if json:
        print_json(result)
    else:
        say(f"Build {result['build_uuid']} is queued.")


def _production_branch(triggers: list[dict[str, Any]]) -> str:
    for rule in (rule for trigger in triggers for rule in trigger["branch_includes"]):
        if "*" not in rule:
            return str(rule)
    raise CommandFailed("no trigger names a branch of production: say which to build by --branch")


def _trigger_of(triggers: list[dict[str, Any]], branch: str | None) -> str:
    """What a push of the branch would be built by; the first if no rule fits, or no branch is known."""
    fitting = (
        trigger
        for trigger in triggers
        if branch and matches_rules(trigger["branch_includes"], trigger["branch_excludes"], branch)
    )
    return str(next(fitting, triggers[0])["trigger_uuid"])


def full_uuid(server: Server, beginning: str) -> str:
    """The uuid of the one recent build that begins so."""
    if len(beginning) == UUID_LENGTH:
        return beginning
    builds = server.get("/builds", per_page=200)
    found = [build["build_uuid"] for build in builds if build["build_uuid"].startswith(beginning)]
    if not found:
        raise CommandFailed(f"none of the latest builds begins with {beginning!r}; see kedge builds list")
    if len(found) > 1:
        raise CommandFailed(f"{len(found)} of the latest builds begin with {beginning!r}; give more of it")
    return str(found[0])
