"""Getting the commit, from this machine and over the network, and what to say when it cannot be had."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.runner.conftest import FakeKedge, Runners

PASSWORD = "the-clone-password"


class GitServer:
    """Serves repositories as git's own `http-backend` does; counts wrong passwords."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.refused = 0
        self.failures = 0
        self.redirect = ""
        #: whether it speaks the first version of the protocol only, and gives out tips of branches alone
        self.old = False
        self.seen: list[str] = []
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        git = self

        class Handler(BaseHTTPRequestHandler):
            def serve(self) -> None:
                git.seen.append(self.headers.get("Authorization", ""))
                if git.failures:
                    git.failures -= 1
                    self.send_error(503)
                elif git.redirect:
                    self.send_response(302)
                    self.send_header("Location", git.redirect + self.path)
                    self.end_headers()
                elif self.headers.get("Authorization") != _basic("kedge", PASSWORD):
                    git.refused += 1
                    self.send_response(401)
                    self.send_header("WWW-Authenticate", "Basic realm=git")
                    self.end_headers()
                else:
                    self._backend()

            def _backend(self) -> None:
                path, _, query = self.path.partition("?")
                size = int(self.headers.get("Content-Length", 0))
                environment = {
                    "PATH": os.environ["PATH"],
                    "GIT_PROJECT_ROOT": str(git.root),
                    "GIT_HTTP_EXPORT_ALL": "1",
                    "GIT_CONFIG_NOSYSTEM": "1",
                    "PATH_INFO": path,
                    "QUERY_STRING": query,
                    "REQUEST_METHOD": self.command,
                    "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                    "GIT_PROTOCOL": "" if git.old else self.headers.get("Git-Protocol", ""),
                    "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                }
                done = subprocess.run(
                    ["git", "http-backend"],
                    input=self.rfile.read(size),
                    env=environment,
                    capture_output=True,
                    check=False,
                )
                head, _, body = done.stdout.partition(b"\r\n\r\n")
                headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
                self.send_response(int(headers.pop("Status", "200").split()[0]))
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (named by the base class)
                """Be quiet."""

        for method in ("GET", "POST"):
            setattr(Handler, f"do_{method}", Handler.serve)
        return Handler


def _basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


@pytest.fixture
def server(tmp_path: Path, source: Path) -> Iterator[GitServer]:
    """Serves `source`."""
    git = GitServer(source.parent)
    yield git
    git.close()


def over_http(server: GitServer, password: str = PASSWORD) -> dict[str, Any]:
    return {
        "url": f"{server.url}/source/.git",
        "username": "kedge",
        "password": password,
        "local_path": None,
    }


LOOK = "git log --oneline | wc -l; git remote get-url origin; git status --porcelain; cat site/index.html"


def test_a_repository_on_this_machine_is_not_copied(runners: Runners, kedge: FakeKedge) -> None:
    verdict = runners.run(build_command=f"{LOOK}; git rev-parse HEAD; find .git/objects -type f | wc -l")

    assert verdict["outcome"] == "success"
    assert f"\nhello\n{kedge.job['commit_hash']}\n1\n" in kedge.log


def test_a_repository_is_cloned_with_a_password_that_nobody_sees(
    runners: Runners, kedge: FakeKedge, server: GitServer
) -> None:
    look = f"{LOOK}; cat .git/config; env; ls -A {runners.workspace}"

    verdict = runners.run(clone=over_http(server), build_command=look)

    assert verdict["outcome"] == "success"
    assert f"\n1\n{server.url}/source/.git\nhello\n" in kedge.log
    assert "git-credentials" not in kedge.log
    found = subprocess.run(["grep", "-r", PASSWORD, str(runners.workspace)], capture_output=True, check=False)
    assert not found.stdout


def test_only_the_commit_itself_travels(
    runners: Runners, kedge: FakeKedge, server: GitServer, source: Path, commit_all: Callable[[Path], str]
) -> None:
    (source / "new").write_text("x")
    kedge.job["commit_hash"] = commit_all(source)

    runners.run(clone=over_http(server), build_command="git log --oneline | wc -l")

    assert "\n1\nSuccess: Build" in kedge.log


def test_a_missing_local_path_is_no_hindrance(
    runners: Runners, kedge: FakeKedge, server: GitServer, tmp_path: Path
) -> None:
    clone = over_http(server) | {"local_path": str(tmp_path / "nowhere.git")}

    assert runners.run(clone=clone)["outcome"] == "success"


@pytest.mark.parametrize("where", ["here", "far"])
def test_a_commit_that_was_pushed_away_is_gone(
    runners: Runners, kedge: FakeKedge, server: GitServer, where: str
) -> None:
    clone = over_http(server) if where == "far" else kedge.job["clone"]

    verdict = runners.run(clone=clone, commit_hash="1" * 40)

    assert (verdict["outcome"], verdict["failure"]) == ("fail", "clone")
    assert "the commit is gone" in verdict["message"]
    assert "11111" in kedge.log


def test_a_branch_of_an_old_server_is_fetched_whole_to_find_the_commit(
    runners: Runners, kedge: FakeKedge, server: GitServer, source: Path, commit_all: Callable[[Path], str]
) -> None:
    server.old = True
    (source / "new").write_text("x")
    commit_all(source)

    # the first commit is no longer the tip of any branch
    verdict = runners.run(clone=over_http(server), build_command="ls")

    assert verdict["outcome"] == "success"
    assert "new" not in kedge.log.splitlines()


@pytest.mark.parametrize("branch", ["gone", "--upload-pack=touch pwned", "a:b", "*", "x..y", "a\nb"])
def test_a_branch_that_an_old_server_does_not_have_is_gone(
    runners: Runners, kedge: FakeKedge, server: GitServer, tmp_path: Path, branch: str
) -> None:
    server.old = True

    verdict = runners.run(clone=over_http(server), branch=branch, commit_hash="1" * 40)

    assert "the commit is gone" in verdict["message"]
    assert not list(tmp_path.rglob("pwned"))


def test_a_wrong_password_is_told_from_a_missing_repository(
    runners: Runners, kedge: FakeKedge, server: GitServer
) -> None:
    verdict = runners.run(clone=over_http(server, "wrong-password"))

    assert verdict["failure"] == "clone"
    assert "refused Kedge's credentials" in verdict["message"]
    assert "wrong-password" not in kedge.log


def test_no_password_where_one_is_needed(runners: Runners, kedge: FakeKedge, server: GitServer) -> None:
    assert "credentials" in runners.run(clone=over_http(server, ""))["message"]


def test_a_missing_repository_is_told(runners: Runners, kedge: FakeKedge, server: GitServer) -> None:
    clone = over_http(server) | {"url": f"{server.url}/nothing.git"}

    assert "does not exist" in runners.run(clone=clone)["message"]


def test_an_empty_repository_has_no_commit(
    runners: Runners, kedge: FakeKedge, server: GitServer, tmp_path: Path
) -> None:
    subprocess.run(["git", "init", "-q", "--bare", str(tmp_path / "empty.git")], check=True)
    clone = over_http(server) | {"url": f"{server.url}/empty.git"}

    assert "the commit is gone" in runners.run(clone=clone)["message"]


def test_a_host_that_cannot_be_reached_is_the_networks_fault(runners: Runners, kedge: FakeKedge) -> None:
    clone = {"url": "http://127.0.0.1:9/x.git", "username": "", "password": "", "local_path": None}

    assert "cannot be reached" in runners.run(clone=clone)["message"]


def test_a_hiccup_of_the_network_is_survived(runners: Runners, kedge: FakeKedge, server: GitServer) -> None:
    server.failures = 1

    assert runners.run(clone=over_http(server))["outcome"] == "success"


def test_another_host_does_not_get_the_password(
    runners: Runners, kedge: FakeKedge, server: GitServer, tmp_path: Path
) -> None:
    thief = GitServer(tmp_path)
    server.redirect = thief.url
    try:
        verdict = runners.run(clone=over_http(server))
    finally:
        thief.close()

    assert verdict["failure"] == "clone"
    assert thief.seen
    assert not any(thief.seen)


@pytest.mark.parametrize(
    "change",
    [
        {"commit_hash": "--upload-pack=touch pwned"},
        {"commit_hash": "HEAD"},
        {"commit_hash": "a" * 41},
        {"commit_hash": "A" * 40},
        {"url": "--upload-pack=touch pwned"},
        {"url": "ext::sh -c touch% pwned"},
        {"url": 'http://127.0.0.1:9/"\n[core]\n\tfsmonitor = "touch pwned"'},
        {"url": "ssh://-oProxyCommand=touch${IFS}pwned/x"},
        {"password": "two\nlines"},
    ],
)
def test_hostile_sources_are_refused(
    runners: Runners, kedge: FakeKedge, tmp_path: Path, change: dict[str, str]
) -> None:
    clone = {"url": "http://127.0.0.1:9/x.git", "username": "", "password": "", "local_path": None}
    job = {"commit_hash": change.pop("commit_hash")} if "commit_hash" in change else {}

    verdict = runners.run(clone=clone | change, **job)

    assert (verdict["outcome"], verdict["failure"]) == ("fail", "clone")
    assert not list(tmp_path.rglob("pwned"))


def test_hooks_and_filters_of_the_repository_do_not_run(
    runners: Runners, kedge: FakeKedge, source: Path, tmp_path: Path, commit_all: Callable[[Path], str]
) -> None:
    hook = source / ".git" / "hooks" / "post-checkout"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/pwned\n")
    hook.chmod(0o755)
    (source / ".gitattributes").write_text("* filter=evil\n")
    subprocess.run(
        ["git", "-C", str(source), "config", "filter.evil.smudge", f"touch {tmp_path}/pwned; cat"], check=True
    )
    kedge.job["commit_hash"] = commit_all(source)

    assert runners.run()["outcome"] == "success"
    assert not (tmp_path / "pwned").exists()


def test_a_repository_that_its_forge_packs_anew_stays_readable(
    runners: Runners, kedge: FakeKedge, source: Path
) -> None:
    pack = f"git -C {source} gc -q --prune=now"

    verdict = runners.run(build_command=f"{pack}; git show HEAD:site/index.html && git fsck")

    assert verdict["outcome"] == "success"


def test_without_git_the_failure_says_how_to_get_it(
    runners: Runners, kedge: FakeKedge, tmp_path: Path
) -> None:
    (tmp_path / "bin").mkdir()
    kedge.job["build_command"] = "true"

    assert runners.start(PATH=str(tmp_path / "bin")).wait(60) == 0
    assert kedge.verdict["failure"] == "clone"
    assert "apt-get install git" in kedge.verdict["message"]


def test_a_shallow_repository_on_this_machine_is_fetched_instead(
    runners: Runners, kedge: FakeKedge, source: Path, server: GitServer, tmp_path: Path
) -> None:
    shallow = tmp_path / "shallow.git"
    shutil.copytree(source / ".git", shallow)
    (shallow / "shallow").write_text(kedge.job["commit_hash"] + "\n")

    verdict = runners.run(clone=over_http(server) | {"local_path": str(shallow)})

    assert verdict["outcome"] == "success"
