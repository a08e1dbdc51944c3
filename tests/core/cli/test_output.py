"""What commands print drives nobody's terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from kedge.cli.builds import follow_log, print_log
from kedge.cli.output import coloured, print_document, print_json, print_json_lines, print_table, say
from kedge.client import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

EVIL = "\x1b]52;c;cm0gLXJm\x1b\\\x1b[2J\x9b2J\x1b[\x002J"


class Log(BaseHTTPRequestHandler):
    """Answers with a log that is cut within its escape sequences, as events or as pages, or refuses."""

    pieces = ("\x1b[", "2Jclear\n", "\x1b]0;ti", "tle\x07", "done \x1b[3", "1mred\n")

    def do_GET(self) -> None:
        events = "follow" in self.path
        body = self._events() if events else json.dumps(self._answer()).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream" if events else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _events(self) -> bytes:
        said = [("log", {"text": piece}) for piece in self.pieces] + [("status", {"build_outcome": "fail"})]
        events = [f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in said]
        return "".join([*events, "event: end\ndata: {}\n\n"]).encode()

    def _answer(self) -> dict[str, Any]:
        if "/pages" in self.path:
            return {"success": True, "result": self._page()}
        return {"success": False, "errors": [{"message": f"refused{EVIL}"}]}

    def _page(self) -> dict[str, Any]:
        _, _, cursor = self.path.partition("cursor=")
        at = int(cursor or 0)
        line = self.pieces[at].replace("\n", "")
        return {"lines": [[0, line]], "cursor": str(at + 1), "truncated": at + 1 < len(self.pieces)}

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (named by the base class)
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Log)
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    yield Server(url=f"http://127.0.0.1:{httpd.server_address[1]}", token="t", account="default")
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def test_following_a_log_shows_text_and_colours_only_however_events_cut_it(
    server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    outcome = follow_log(server, "/follow", {}, as_json=False)

    assert (outcome, capsys.readouterr().out) == ("fail", "clear\ndone \x1b[31mred\n\x1b[0m")


def test_without_a_terminal_a_log_is_text_alone(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    follow_log(server, "/follow", {}, as_json=False)

    assert capsys.readouterr().out == "clear\ndone red\n"


def test_no_line_of_a_log_completes_what_the_page_before_began(
    server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    print_log(server, "/pages", {}, as_json=False)

    assert capsys.readouterr().out == "\n2Jclear\n\ntle\ndone \n1mred\n"


def test_lines_say_what_others_wrote_as_plain_text(capsys: pytest.CaptureFixture[str]) -> None:
    say(f"  commit   {EVIL}fix\rthe bug")

    assert capsys.readouterr().out == "  commit   2Jfixthe bug\n"


def test_tables_show_what_others_wrote_as_plain_text(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("BRANCH", "STATUS"), [(f"{EVIL}main", coloured(f"{EVIL}fail"))], empty="")

    assert capsys.readouterr().out.split() == ["BRANCH", "STATUS", "2Jmain", "2Jfail"]


LONG = f"/var/lib/{'kedge/' * 20}runner.sock"


def test_a_table_that_is_no_terminals_has_each_row_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("WHAT", "FOUND"), [("data dir", f"{LONG} (71 GiB free)")], empty="")

    assert capsys.readouterr().out.splitlines()[1].rstrip() == f"data dir  {LONG} (71 GiB free)"


def test_a_terminal_shows_all_of_a_table_however_narrow_it_is() -> None:
    command = f"from kedge.cli.output import print_table; print_table(('A',), [({LONG!r},)], empty='')"
    environ = {**os.environ, "FORCE_COLOR": "1", "COLUMNS": "40"}

    shown = subprocess.run(
        [sys.executable, "-c", command], env=environ, capture_output=True, text=True, check=True
    ).stdout

    _, *lines = shown.splitlines()
    assert "".join(line.strip() for line in lines) == LONG
    assert max(map(len, lines)) <= 40


def test_json_drives_no_terminal_and_means_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"message": EVIL})
    print_json_lines([{"message": EVIL}])
    out = capsys.readouterr().out

    assert out.isascii()
    assert not any(ord(one) < 0x20 or ord(one) == 0x7F for one in out.replace("\n", ""))
    whole, line = out.removesuffix("\n").rsplit("\n", 1)
    assert json.loads(whole) == json.loads(line) == {"message": EVIL}


def test_toml_drives_no_terminal_and_means_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    print_document('build = "echo \x9b2J"\n')
    out = capsys.readouterr().out

    assert out.isascii()
    assert tomllib.loads(out) == {"build": "echo \x9b2J"}


def test_errors_are_plain_text(server: Server) -> None:
    argv = ["builds", "list", "--token", server.token, "--url", server.url]
    ran = subprocess.run(
        [sys.executable, "-m", "kedge", *argv], capture_output=True, text=True, encoding="utf-8", check=False
    )

    assert (ran.returncode, ran.stderr) == (1, "kedge: refused2J\n")
