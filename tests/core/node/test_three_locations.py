"""`configs/cluster.sh`, as the how-to says: pushed to one location, served at another."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from kedge.cli.workers import create_worker
from kedge.client import find_server
from kedge.testing.node import Repository, latest_build, wait_for_end

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kedge.client import Server

SCRIPT = Path(__file__).parents[3] / "configs" / "cluster.sh"
LINE = re.compile(r"(\w+) +(http://\S+) +\(data in (\S+)\)\n")
PROGRAM = """
import os
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = os.environ["KEDGE_LOCATION"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
TOML = """
[worker]
kind = "command"
entry = ["python3", "-S", "server.py"]
[worker.placement]
region = "x:frankfurt"
"""


@contextmanager
def script(database: str) -> Iterator[dict[str, Server]]:
    """The nodes that it starts, by location."""
    command = [str(SCRIPT), "--database", database, "--port", "0"]
    environment = os.environ | {"PYTHON": sys.executable}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        lines = [LINE.fullmatch(process.stdout.readline()) for _ in range(3)]
        try:
            yield {line[1]: find_server(line[2], None, "default", Path(line[3])) for line in lines if line}
        finally:
            process.send_signal(signal.SIGTERM)
    assert process.returncode == 0


def ask(node: Server) -> httpx.Response:
    return httpx.get(node.url, headers={"Host": "where.localhost"}, trust_env=False, timeout=60)


def test_what_is_pushed_to_one_location_is_served_at_another_over_a_long_way(
    postgresql_url: str, tmp_path: Path
) -> None:
    repository = Repository(tmp_path / "repository")
    repository.commit({"server.py": PROGRAM, "kedge.toml": TOML})
    with script(postgresql_url) as nodes:
        sydney = nodes["sydney"]
        create_worker(
            sydney, "where", build="", deploy="kedge deploy .", root="/", branch="main", previews=False
        )
        url = f"{sydney.url}/git/{sydney.account}/where.git".replace("//", f"//test:{sydney.token}@", 1)
        repository.git("push", "-q", url, "main")
        build = wait_for_end(nodes["virginia"], latest_build(nodes["virginia"])["build_uuid"])
        assert build["build_outcome"] == "success"

        while (answer := ask(nodes["virginia"])).text != "frankfurt":
            assert answer.text == "virginia"

        assert answer.headers["cf-placement"] == "remote-frankfurt"
        assert answer.elapsed.total_seconds() > 0.09
        assert ask(nodes["frankfurt"]).headers["cf-placement"] == "local-frankfurt"
