"""`kedge demo`: the whole way of a push, on this machine, in a folder of its own."""

from __future__ import annotations

import json as jsonlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from kedge.cli.failure import CommandFailed
from kedge.cli.options import Json
from kedge.cli.output import print_json, print_table, say
from kedge.client import Server, find_server

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKER = "hello"
USUAL_PORT = 8787

PAGE = """\
<!doctype html>
<title>Hello from Kedge</title>
<h1>Hello from Kedge</h1>
<p>Built from commit <code>@COMMIT@</code>.</p>
"""
BUILD_SCRIPT = """\
set -eu
mkdir -p dist
for step in 1 2 3; do echo "step $step of 3"; done
sed "s/@COMMIT@/$KEDGE_CI_COMMIT_SHA/" page.html > dist/index.html
"""


def demo(
    data_dir: Annotated[Path, typer.Option("--data-dir", help="Where the demo keeps its data.")] = Path(
        ".kedge/demo"
    ),
    once: Annotated[
        bool, typer.Option("--once", envvar="ONCE", help="End after the demo also on a terminal.")
    ] = False,
    placement: Annotated[
        bool, typer.Option("--placement", help="Show smart placement instead, with three locations.")
    ] = False,
    requests: Annotated[int, typer.Option("--requests", min=200, help="Of --placement.")] = 3500,
    json: Json = False,
) -> None:
    """Start Kedge, push a sample repository, stream its build, fetch the page, print the timings."""
    if placement:
        show_placement(requests, json=json)
        return
    with running_node(data_dir) as server:
        timings = show_push(server, quiet=json)
        if json:
            print_json(timings)
        else:
            print_table(("STEP", "MS"), [(name, f"{ms:.0f}") for name, ms in timings.items()], empty="")
        if not (once or json) and sys.stdout.isatty():
            say(f"\nStill serving at {page_url(server)} (API at {server.url}). Ctrl-C ends it.")
            _wait_for_interrupt()


def show_placement(requests: int, *, json: bool) -> None:
    """A worker that asks far data for much, near its visitor and where it is answered fastest."""
    import asyncio  # noqa: PLC0415  (only this part needs it)

    from kedge.cli.placement_demo.experiment import run_experiment  # noqa: PLC0415  (slow to import)

    with tempfile.TemporaryDirectory(prefix="kedge-") as folder:
        found = asyncio.run(run_experiment(Path(folder), requests, say=(lambda _: None) if json else say))
    if json:
        print_json(found)
        return
    rows = [
        ("not placed (runs in sydney)", f"{found['median_unplaced_ms']:.0f} ms"),
        (f"placed (runs in {found['location']})", f"{found['median_placed_ms']:.0f} ms"),
        ("faster by", f"{found['median_speedup']:.1f} x"),
        ("decided after", f"{found['decided_after_requests']} requests, {found['decided_after_s']} s"),
    ]
    rows += [
        (f"told to run in {name}", f"{ms:.0f} ms") for name, ms in found["median_ms_by_location"].items()
    ]
    print_table(("MEDIAN OF THE VISITOR", ""), rows, empty="")


def show_push(server: Server, *, quiet: bool) -> dict[str, float]:
    """Push a fresh commit of the sample and fetch the page; tell how long each step took."""
    from kedge.cli.workers import create_worker  # noqa: PLC0415  (only the demo makes a worker by itself)

    if not any(worker["name"] == WORKER for worker in server.get("/workers/workers")):
        create_worker(
            server,
            WORKER,
            build="sh build.sh",
            deploy="kedge deploy dist",
            root="/",
            branch="main",
            previews=True,
        )
    with tempfile.TemporaryDirectory() as folder:
        commit = make_sample(Path(folder))
        started = time.time()
        push(server, Path(folder), quiet=quiet)
        pushed = time.time()
    fetch_start = time.perf_counter()
    page = fetch_page(server)
    fetched = (time.perf_counter() - fetch_start) * 1000
    if commit not in page:
        raise CommandFailed("the page is there, but it is not of the commit just pushed")
    return _timings(server, started, pushed) | {"page fetched": fetched}


def _timings(server: Server, started: float, pushed: float) -> dict[str, float]:
    from datetime import datetime  # noqa: PLC0415  (used here only)

    build = server.get("/builds", per_page=1)[0]
    moments = {
        "push to queued": build["created_on"],
        "push to runner ready": build["initializing_on"],
        "push to build stopped": build["stopped_on"],
    }
    timings = {
        name: (datetime.fromisoformat(moment).timestamp() - started) * 1000
        for name, moment in moments.items()
    }
    phases = {f"phase {phase['name']}": phase["duration_ms"] for phase in build["kedge"]["phases"]}
    return timings | {"git push, in all": (pushed - started) * 1000} | phases


def make_sample(folder: Path) -> str:
    """A repository with one commit that builds a page; return the commit."""
    (folder / "page.html").write_text(PAGE)
    (folder / "build.sh").write_text(BUILD_SCRIPT)
    (folder / "made-at").write_text(f"{time.time_ns()}\n")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "Say hello")
    return git(folder, "rev-parse", "HEAD").strip()


def push(server: Server, folder: Path, *, quiet: bool) -> None:
    """`git push`, showing what the server says."""
    address = f"{server.url}/git/{server.account}/{WORKER}.git"
    # The token reaches git by its environment, where other users of the machine cannot read it.
    helper = '!f() { echo username=demo; echo "password=$KEDGE_DEMO_TOKEN"; }; f'
    command = ["git", "-c", "credential.helper=", "-c", f"credential.helper={helper}", "push"]
    if not quiet:
        say(f"$ git push {address} main")
    environment = {**git_environment(), "KEDGE_DEMO_TOKEN": server.token, "GIT_TERMINAL_PROMPT": "0"}
    pushed = subprocess.run(
        [*command, "--force", address, "main"],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL if quiet else None,
        stderr=subprocess.DEVNULL if quiet else subprocess.STDOUT,
        check=False,
    )
    if pushed.returncode != 0:
        raise CommandFailed("the push failed; what git said is above")


def fetch_page(server: Server) -> str:
    """The worker's page, through the gateway."""
    import httpx  # noqa: PLC0415  (slow to import)

    host = f"{WORKER}.localhost:{httpx.URL(server.url).port}"
    response = httpx.get(server.url, headers={"Host": host}, trust_env=False)
    response.raise_for_status()
    return response.text


def page_url(server: Server) -> str:
    """Where a browser finds the page."""
    return f"http://{WORKER}.localhost:{server.url.rpartition(':')[2]}/"


def git(folder: Path, *arguments: str) -> str:
    """Run git with an identity of the demo's own."""
    identity = ["-c", "user.name=Kedge demo", "-c", "user.email=demo@localhost"]
    done = subprocess.run(
        ["git", *identity, *arguments],
        cwd=folder,
        env=git_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise CommandFailed(f"git {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout


def git_environment() -> dict[str, str]:
    """The environment without what would bend git to another repository."""
    return {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}


@contextmanager
def running_node(data_dir: Path) -> Iterator[Server]:
    """A node in a process of its own, on the usual port if that is free."""
    if shutil.which("git") is None:
        raise CommandFailed("git is missing: apt-get install git")
    port = USUAL_PORT if _is_free(USUAL_PORT) else 0
    command = [sys.executable, "-m", "kedge", "up", "--listen", f"127.0.0.1:{port}"]
    with _open_log(data_dir) as said:
        process = subprocess.Popen(
            [*command, "--data-dir", str(data_dir), "--json"],
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
        )
    try:
        yield _server(process, data_dir)
    finally:
        process.terminate()
        process.wait()


def _open_log(data_dir: Path) -> TextIO:
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        return (data_dir / "node.log").open("a")
    except OSError as error:
        raise CommandFailed(
            f"{data_dir} is no folder that the demo can write to: {error.strerror}; "
            "choose another by --data-dir"
        ) from error


def _server(process: subprocess.Popen[str], data_dir: Path) -> Server:
    line = process.stdout.readline() if process.stdout else ""
    if not line:
        raise CommandFailed(f"Kedge did not start; {data_dir / 'node.log'} says why")
    ready: dict[str, Any] = jsonlib.loads(line)
    return find_server(ready["url"], None, "default", data_dir)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _wait_for_interrupt() -> None:
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        say("")
