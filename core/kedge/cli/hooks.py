"""`kedge hooks …`. Hooks go by their names here: whoever sees an address can use it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from kedge.cli.failure import CommandFailed
from kedge.cli.options import Json, Worker
from kedge.cli.output import ago, print_json, print_table, say
from kedge.cli.with_server import with_server
from kedge.client import Server

app = typer.Typer(no_args_is_help=True, help="Addresses that start a build when somebody calls them.")

Hook = Annotated[str, typer.Argument(help="The hook's name.")]
Branch = Annotated[str, typer.Option("--branch", help="The branch to build.")]


@app.command()
@with_server
def create(server: Server, worker: Worker, name: Hook, branch: Branch = "main", json: Json = False) -> None:
    """Make a hook and show its address. Whoever knows it can start builds: treat it as a password."""
    hook = server.post(_path(worker), {"deploy_hook_name": name, "branch": branch})
    _print(hook, json=json)


@app.command("list")
@with_server
def list_hooks(server: Server, worker: Worker, json: Json = False) -> None:
    """List the hooks of a worker, without their addresses unless as JSON."""
    hooks = server.get(_path(worker))
    if json:
        print_json(hooks)
        return
    rows = [
        (hook["deploy_hook_name"], hook["branch"], ago((hook["latest_build"] or {}).get("created_on")))
        for hook in hooks
    ]
    empty = f"No hooks yet. Make one: kedge hooks create {worker} NAME"
    print_table(("NAME", "BRANCH", "LAST BUILD"), rows, empty=empty)


@app.command()
@with_server
def show(server: Server, worker: Worker, name: Hook, json: Json = False) -> None:
    """Show a hook with its address."""
    _print(_find(server, worker, name), json=json)


@app.command()
@with_server
def change(
    server: Server,
    worker: Worker,
    name: Hook,
    new_name: Annotated[str | None, typer.Option("--name", help="Another name.")] = None,
    branch: Annotated[str | None, typer.Option("--branch", help="Another branch.")] = None,
    json: Json = False,
) -> None:
    """Give a hook another name or branch; its address stays."""
    if new_name is None and branch is None:
        raise CommandFailed("say what to change: --name, --branch or both")
    found = _find(server, worker, name)
    body = {"deploy_hook_name": new_name or name, "branch": branch or found["branch"]}
    _print(server.put(f"{_path(worker)}/{found['deploy_hook_uuid']}", body), json=json)


@app.command()
@with_server
def delete(server: Server, worker: Worker, name: Hook, json: Json = False) -> None:
    """Remove a hook: its address starts no more builds."""
    result = server.delete(f"{_path(worker)}/{_find(server, worker, name)['deploy_hook_uuid']}")
    if json:
        print_json(result)
    else:
        say(f"Hook {name} is gone.")


def _path(worker: str) -> str:
    return f"/builds/workers/{worker}/deploy_hooks"


def _find(server: Server, worker: str, name: str) -> dict[str, Any]:
    for hook in server.get(_path(worker)):
        if hook["deploy_hook_name"] == name:
            if "deploy_hook_uuid" not in hook:
                raise CommandFailed("this token may only read: a hook's address needs one that may write")
            found: dict[str, Any] = hook
            return found
    raise CommandFailed(f"{worker} has no hook {name!r}; `kedge hooks list {worker}` shows those it has")


def _print(hook: dict[str, Any], *, json: bool) -> None:
    if json:
        print_json(hook)
        return
    say(f"{hook['deploy_hook_name']} builds {hook['branch']}. Start a build by\n")
    say(f"    curl -X POST {hook['kedge']['url']}")
