"""Uploading a folder, from the library and from within a build."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from kedge_runner.deploy import DeployFailed, deploy_directory
from kedge_runner.deploy_command import parse
from kedge_runner.errors import Refused
from kedge_runner.files import File, find_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.runner.conftest import FakeKedge, Runners

PREFIX = "/client/v4/accounts/default/workers/workers/hello/versions/uploads"


class Versions:
    """The versions of one worker, as Kedge keeps them."""

    def __init__(self) -> None:
        self.stored: dict[str, bytes] = {}
        self.wanted: dict[str, Any] = {}
        self.completed: list[dict[str, Any]] = []
        self.tokens: set[str] = set()
        self.refuse: tuple[int, str] | None = None
        self.reason: str | None = None
        self.drop = 0
        self.lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        if self.refuse:
            return self.refuse
        if (method, path) == ("POST", PREFIX):
            self.wanted = json.loads(body)
            digests = {file["sha256"] for file in self.wanted["files"].values()}
            return 200, {"upload_id": "u1", "missing": sorted(digests - set(self.stored))}
        if method == "PUT" and path.startswith(f"{PREFIX}/u1/files/"):
            digest = path.rpartition("/")[2]
            assert hashlib.sha256(body).hexdigest() == digest
            self.stored[digest] = body
            return 200, None
        assert (method, path) == ("POST", f"{PREFIX}/u1/complete")
        self.completed.append(json.loads(body))
        alias = self.completed[-1]["alias"]
        return 200, {
            "version_id": "v1",
            "number": 3,
            "url": "http://hello.localhost/",
            "preview_url": "http://v1-hello.localhost/",
            "alias_url": alias and f"http://{alias}-hello.localhost/",
            "reason": self.reason,
        }

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        versions = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 1 << 16

            def serve(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with versions.lock:
                    versions.tokens.add(self.headers["Authorization"])
                    if versions.drop:
                        versions.drop -= 1
                        self.close_connection = True
                        return
                    status, result = versions.answer(self.command, self.path, body)
                errors = [{"code": 12064, "message": result}] if status >= 400 else []
                answer = {"success": status < 400, "errors": errors, "messages": [], "result": result}
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (named by the base class)
                """Be quiet."""

        for method in ("PUT", "POST"):
            setattr(Handler, f"do_{method}", Handler.serve)
        return Handler


@pytest.fixture
def versions() -> Iterator[Versions]:
    """A worker without versions."""
    server = Versions()
    yield server
    server.close()


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder to deploy."""
    folder = tmp_path / "dist"
    (folder / "b" / "c").mkdir(parents=True)
    (folder / "index.html").write_text("hello")
    (folder / "same.html").write_text("hello")
    (folder / "b" / "c" / "größe?.txt").write_bytes(b"\0" * 1_000_000)
    (folder / "empty").write_text("")
    return folder


def deploy(site: Path, versions: Versions, **options: Any) -> dict[str, Any]:
    return deploy_directory(site, url=versions.url, token="t", account="default", worker="hello", **options)


def test_every_file_travels_once(site: Path, versions: Versions) -> None:
    result = deploy(site, versions, message="first")

    assert (result["files"], result["uploaded"], result["number"]) == (4, 3, 3)
    assert sorted(versions.wanted["files"]) == ["b/c/größe?.txt", "empty", "index.html", "same.html"]
    assert versions.wanted["kind"] == "static"
    assert versions.wanted["message"] == "first"
    assert set(versions.stored.values()) == {b"hello", b"", b"\0" * 1_000_000}
    assert versions.completed == [{"deploy": True, "alias": None}]
    assert deploy(site, versions)["uploaded"] == 0


def test_many_files_survive_connections_that_break(site: Path, versions: Versions) -> None:
    for number in range(200):
        (site / f"{number}.txt").write_text(str(number))
    versions.drop = 5

    assert deploy(site, versions)["uploaded"] == 203
    assert len(versions.stored) == 203


def test_what_kedge_refuses_is_told_in_its_words(site: Path, versions: Versions) -> None:
    versions.refuse = (413, "index.html is over 25 MiB; leave it out")

    with pytest.raises(Refused, match="over 25 MiB"):
        deploy(site, versions)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("run.concurrency: must be at least 1", "kedge.toml: worker.concurrency: must be at least 1"),
        ("run.variables.A: must be a text", "kedge.toml: worker.variables.A: must be a text"),
        ("run.memory_bytes: must be more", "kedge.toml: worker.memory: must be more"),
        ("message: must be a text", "message: must be a text"),
    ],
)
def test_what_is_refused_of_the_file_is_named_as_it_stands_there(
    site: Path, versions: Versions, answer: str, said: str
) -> None:
    versions.refuse = (400, answer)

    with pytest.raises(Refused) as refused:
        deploy(site, versions)
    assert str(refused.value) == said


def test_a_link_within_the_folder_is_its_file(site: Path) -> None:
    (site / "link.html").symlink_to("index.html")

    assert ("link.html", str(site / "index.html")) in find_files(str(site))


@pytest.mark.parametrize("target", ["/etc/passwd", "../secret", "b", "nowhere", ".", "loop", ".git/config"])
def test_a_link_to_anything_else_is_refused(site: Path, target: str) -> None:
    (site.parent / "secret").write_text("x")
    (site / ".git").mkdir()
    (site / ".git" / "config").write_text("x")
    (site / "loop").symlink_to(target)

    with pytest.raises(DeployFailed, match="loop is a link"):
        find_files(str(site))


def test_the_repository_itself_is_left_out_and_nothing_else(site: Path) -> None:
    for name in (".git", "node_modules", ".well-known", "b/.git"):
        (site / name).mkdir()
        (site / name / "file").write_text("x")

    names = [name for name, _ in find_files(str(site)) if name.endswith("file")]

    assert names == [".well-known/file", "node_modules/file"]


def test_what_is_no_file_is_refused(site: Path) -> None:
    os.mkfifo(site / "pipe")

    with pytest.raises(DeployFailed, match="pipe is neither"):
        find_files(str(site))


@pytest.mark.parametrize("name", [b"new\nline", b"\xff"])
def test_names_that_are_no_text_are_refused(site: Path, name: bytes) -> None:
    with open(os.path.join(os.fsencode(site), name), "wb"):  # noqa: PTH118, PTH123  (pathlib takes no bytes)
        pass

    with pytest.raises(DeployFailed, match="rename it"):
        find_files(str(site))


def test_a_missing_and_an_empty_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(DeployFailed, match="no folder"):
        find_files(str(tmp_path / "nowhere"))
    with pytest.raises(DeployFailed, match="holds no files"):
        find_files(str(tmp_path))


def test_a_file_that_changes_meanwhile_is_refused(site: Path) -> None:
    file = File("empty", str(site / "index.html"))
    (site / "index.html").write_text("hi")

    with pytest.raises(DeployFailed, match="changed"):
        b"".join(file)
    (site / "index.html").unlink()
    with pytest.raises(DeployFailed, match="cannot be read"):
        b"".join(file)


def test_names_in_the_address_are_quoted(site: Path, versions: Versions) -> None:
    versions.refuse = (404, "nothing there")

    with pytest.raises(Refused, match="nothing there"):
        deploy_directory(site, url=versions.url, token="t", account="a/../b", worker="x y\r\nEvil: 1")


def test_a_build_deploys_without_kedge_installed(
    runners: Runners, kedge: FakeKedge, versions: Versions, commit: str
) -> None:
    target = {"url": versions.url, "token": "kdd_deploy-token", "account": "default"}

    verdict = runners.run(deploy=target, deploy_command="kedge deploy site --message 'a text'")

    assert verdict["outcome"] == "success"
    assert "Uploaded 1 of 1 files as version 3\nhttp://hello.localhost/\n" in kedge.log
    assert versions.tokens == {"Bearer kdd_deploy-token"}
    assert versions.wanted["commit_hash"] == commit
    assert versions.wanted["branch"] == "main"
    assert versions.wanted["message"] == "a text"
    assert versions.completed == [{"deploy": True, "alias": None}]


def test_the_log_says_why_a_version_does_not_serve(
    runners: Runners, kedge: FakeKedge, versions: Versions
) -> None:
    versions.reason = "a newer one does"
    target = {"url": versions.url, "token": "kdd_deploy-token", "account": "default"}

    verdict = runners.run(deploy=target, deploy_command="kedge deploy site")

    assert verdict["outcome"] == "success"
    assert "as version 3\nIt does not serve in production: a newer one does\n" in kedge.log


def test_a_preview_build_only_sets_its_alias(runners: Runners, kedge: FakeKedge, versions: Versions) -> None:
    runners.run(
        deploy={"url": versions.url, "token": "kdd_deploy-token", "account": "default"},
        deploy_command="kedge deploy site",
        is_production=False,
        preview_alias="feat-x",
    )

    assert versions.completed == [{"deploy": False, "alias": "feat-x"}]
    assert "http://feat-x-hello.localhost/\n" in kedge.log


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("kedge deploy nowhere", "there is no folder"),
        ("kedge deploy", "give the folder to deploy"),
        ("kedge deploy --frobnicate site", "there is no option"),
        ("kedge builds list", "only `kedge deploy`"),
    ],
)
def test_a_deploy_that_fails_fails_the_build(
    runners: Runners, kedge: FakeKedge, command: str, words: str
) -> None:
    verdict = runners.run(deploy_command=command)

    assert (verdict["failure"], verdict["exit_code"]) == ("user", 1)
    assert words in kedge.log


def test_the_build_command_cannot_deploy(runners: Runners, kedge: FakeKedge) -> None:
    assert runners.run(build_command="kedge deploy site")["outcome"] == "fail"
    assert "works in the deploy command" in kedge.log


def test_options_are_read_in_any_order() -> None:
    assert parse(["--message=a=b", "dist"]) == ("dist", {"--message": "a=b"})
    assert parse(["dist", "--no-promote", "--message", "x"]) == (
        "dist",
        {"--no-promote": "", "--message": "x"},
    )
    assert parse(["--", "-odd"]) == ("-odd", {})
    assert parse([]) == (None, {})
    for wrong in (["a", "b"], ["a", "--message"], ["-x", "a"]):
        with pytest.raises(ValueError, match=r".+"):
            parse(wrong)
