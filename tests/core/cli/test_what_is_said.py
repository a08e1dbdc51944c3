"""Commands say what the server has answered, and no more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from rich.text import Text
from typer.main import get_command
from typer.testing import CliRunner

from kedge.cli.failure import CommandFailed
from kedge.cli.main import app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

UUID = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def say() -> Iterator[Callable[..., str]]:
    """What a command prints, given the result of every route."""
    results: list[Any] = []

    class Answers(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            envelope = {"success": True, "errors": [], "messages": [], "result": results[-1]}
            body = json.dumps(envelope).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (named by the base class)
            """Stay quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def run(result: Any, *arguments: str) -> str:
        results.append(result)
        url = f"http://127.0.0.1:{server.server_port}"
        done = CliRunner().invoke(app, [*arguments, "--url", url, "--token", "t"], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return " ".join(done.output.split())

    yield run
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        ("cancelled", "Build 00000000 is cancelled."),
        (None, "Build 00000000 is told to end and has not yet: see kedge builds show 00000000"),
    ],
)
def test_a_build_is_said_to_be_cancelled_once_it_is(
    say: Callable[..., str], outcome: str | None, said: str
) -> None:
    result = {"build_uuid": UUID, "build_outcome": outcome, "stopped_on": None}

    assert say(result, "builds", "cancel", UUID) == said


@pytest.mark.parametrize(("caches", "said"), [([{}], "The caches of a are gone."), ([], "a had no caches.")])
def test_caches_are_said_to_be_gone_if_there_were_some(
    say: Callable[..., str], caches: list[Any], said: str
) -> None:
    assert say(caches, "cache", "purge", "a") == said


def test_nothing_is_said_to_be_gone_where_nothing_was(say: Callable[..., str]) -> None:
    blobs = [{"kind": "files", "count": 0, "size": 0, "trouble": None}]

    assert say({"versions": [], "blobs": blobs}, "clean", "--remove").endswith(
        "There was nothing to clear away."
    )


@pytest.mark.parametrize(
    ("count", "said"), [(0, "none of the latest builds begins with 'a'"), (2, "2 of the latest builds begin")]
)
def test_a_beginning_that_names_no_single_build_is_refused(
    say: Callable[..., str], count: int, said: str
) -> None:
    with pytest.raises(CommandFailed, match=said):
        say([{"build_uuid": f"a{number}"} for number in range(count)], "builds", "show", "a")


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (None, "They are gone."),
        ("the store is away", "The rest was left for another time: see TROUBLE."),
    ],
)
def test_what_could_not_be_cleared_away_is_not_said_to_be_gone(
    say: Callable[..., str], trouble: str | None, said: str
) -> None:
    blobs = [{"kind": "files", "count": 1, "size": 1, "trouble": trouble}]

    printed = say({"versions": [], "blobs": blobs}, "clean", "--remove")
    assert printed.endswith(said)
    assert ("gone" in printed) is (trouble is None)


def test_a_secret_that_is_no_text_is_refused_with_what_to_do() -> None:
    server = ("--url", "http://127.0.0.1:1", "--token", "t")
    put = [sys.executable, "-m", "kedge", "secret", "put", "hello", "BIN", *server]

    done = subprocess.run(
        put, input=b"\xff\xfe", env={**os.environ, "LC_ALL": "C"}, capture_output=True, check=False
    )

    assert done.returncode == 1
    assert done.stderr.startswith(b"kedge: what came on standard input is not UTF-8 text")


def test_a_demo_where_no_folder_can_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(CommandFailed, match="is no folder that the demo can write to: File exists"):
        CliRunner().invoke(app, ["demo", "--data-dir", str(tmp_path / "file")], catch_exceptions=False)


@pytest.mark.parametrize(
    ("state", "marks"),
    [(["active", "active"], ["serves", "served"]), (["failed", "active"], ["failed", "serves"])],
)
def test_one_sees_which_deployment_serves_now(
    say: Callable[..., str], state: list[str], marks: list[str]
) -> None:
    deployments = [
        {
            "id": f"{number}2345678",
            "versions": [{"version_id": "1", "percentage": 100}],
            "kedge": {"state": one, "failure": None},
            "source": "api",
            "created_on": None,
            "annotations": {},
        }
        for number, one in enumerate(state)
    ]

    table = say({"deployments": deployments}, "deployments", "list", "hello")
    shown = [say({"deployments": deployments}, "deployments", "show", "hello", str(one)) for one in (0, 1)]

    assert [word for word in table.split() if word in {"serves", "served", "active", "failed"}] == marks
    assert [one.split()[1] for one in shown] == marks


@pytest.mark.parametrize(("started", "lines"), [(None, 0), ("2026-01-01T00:00:00Z", 1)])
def test_only_a_build_that_was_started_took_a_while(
    say: Callable[..., str], started: str | None, lines: int
) -> None:
    build = {
        "build_uuid": UUID,
        "status": "stopped",
        "build_outcome": "cancelled",
        "created_on": "2026-01-01T00:00:00Z",
        "initializing_on": started,
        "stopped_on": "2026-01-01T00:00:01Z",
        "build_trigger_metadata": {"commit_message": "", "commit_hash": "", "branch": "main"},
        "kedge": {"worker": "hello", "attempt": 1, "trusted": True},
    }

    assert say(build, "builds", "show", UUID).count("took") == lines


def test_a_status_that_no_build_has_is_refused_with_those_there_are() -> None:
    with pytest.raises(CommandFailed, match=r"--status: must be one of queued, .*, fail, skipped, cancelled"):
        CliRunner().invoke(
            app, ["builds", "list", "--status", "done", "--url", "u", "--token", "t"], catch_exceptions=False
        )


def test_no_help_text_loses_what_stands_in_brackets() -> None:
    for text in help_texts(get_command(app)):
        assert Text.from_markup(text).plain == text.replace("\\[", "[")


def help_texts(command: Any) -> Iterator[str]:
    """What a command, its parameters and the commands in it say of themselves."""
    yield command.help or ""
    yield from (parameter.help or "" for parameter in command.params)
    for inner in getattr(command, "commands", {}).values():
        yield from help_texts(inner)
