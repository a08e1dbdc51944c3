"""A worker to ask, and a way to deploy it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from kedge.testing.node import RunningNode

TOML = '[worker]\nkind = "command"\nentry = ["python3", "-S", "server.py"]\n'
HOST = {"Host": "hello.localhost"}
#: says which version it is; `/ends` is answered once the file `end` is there, and `/stream` has no end
PROGRAM = """
import os, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = b"VERSION " + str(os.getpid()).encode() + b" " + os.environ.get("SECRET", "").encode()
        if self.path == "/stream":
            self.send_response(200)
            self.end_headers()
            while True:
                self.wfile.write(b"data: more\\n\\n")
                time.sleep(0.05)
        if self.path == "/ends":
            open(os.path.join(FOLDER, "begun"), "x").close()
            while not os.path.exists(os.path.join(FOLDER, "end")):
                time.sleep(0.02)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_POST(self):
        open(os.path.join(FOLDER, "begun"), "x").close()
        body = str(len(self.rfile.read(int(self.headers["Content-Length"])))).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


def command(node: RunningNode, *arguments: str, folder: Path | None = None, given: str = "") -> str:
    """Run `kedge` against a node; return what it prints."""
    where = {"KEDGE_URL": node.server.url, "KEDGE_TOKEN": node.server.token, "KEDGE_WORKER": "hello"}
    done = subprocess.run(
        [sys.executable, "-m", "kedge", *arguments],
        cwd=folder,
        env=os.environ | where,
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def deploy(node: RunningNode, folder: Path, version: str) -> None:
    """Deploy the program as a version of `hello`, and return once it serves."""
    project = folder / version
    project.mkdir()
    program = PROGRAM.replace("VERSION", version).replace("FOLDER", repr(str(folder)))
    (project / "server.py").write_text(program)
    (project / "kedge.toml").write_text(TOML)
    command(node, "deploy", ".", folder=project)
