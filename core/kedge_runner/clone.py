"""Gets the commit: from a repository on this machine without copying it, else over the network."""

from __future__ import annotations

import os
import re

from kedge_runner.command import Command
from kedge_runner.errors import Failed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from kedge_runner.command import Watch
    from kedge_runner.job import Job

COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
SAFE = ["-c", "core.hooksPath=/dev/null", "-c", "protocol.ext.allow=never", "-c", "advice.detachedHead=false"]

REASONS = (
    ("not our ref", "the commit is gone: its branch was moved or deleted after the push. Push again"),
    ("not a tree", "the commit is gone: its branch was moved or deleted after the push. Push again"),
    ("unable to read tree", "the commit is gone: its branch was moved or deleted. Push again"),
    ("couldn't find remote ref", "the branch is gone. Push it again"),
    ("not found", "the repository does not exist, or Kedge may not read it. Check the repo connection"),
    ("authentication failed", "the repository refused Kedge's credentials. Renew the repo connection"),
    ("could not read username", "the repository wants credentials that Kedge does not have"),
    ("could not resolve host", "the repository's host has no address. Check its URL and the network"),
    ("no space left", "the disk is full. Free some space on the node"),
)


class Checkout:
    """Puts one commit into a folder."""

    def __init__(self, workspace: str, job: Job, environment: dict[str, str]) -> None:
        """Nothing is done yet."""
        self.folder = os.path.join(workspace, "repo")
        self._workspace = workspace
        self._source = job.clone
        self._commit = job.commit_hash
        self._environment = {
            **{name: environment[name] for name in ("PATH", "HOME", "LANG")},
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_TERMINAL_PROMPT": "0",
        }

    def run(self, sink: Callable[[bytes], None], watch: Watch) -> None:
        """Make the folder. Raises `Failed`."""
        if not COMMIT.fullmatch(self._commit):
            raise Failed("clone", f"{self._commit[:80]!r} is no commit")
        local = self._source.local_path
        objects = os.path.join(local, "objects") if local else ""
        is_local = bool(local) and os.access(objects, os.R_OK | os.X_OK)
        self._make_repository(objects if is_local else None)
        if not is_local:
            fetch = [*self._credentials(), "fetch", "-q", "--depth", "1", "--no-tags", "origin", self._commit]
            self._git(fetch, sink, watch)
        self._git(["checkout", "-q", "--detach", self._commit], sink, watch)

    def _make_repository(self, alternate: str | None) -> None:
        """What `git init` would make, without the price of a process."""
        git = os.path.join(self.folder, ".git")
        for part in ("objects/info", "refs/heads"):
            os.makedirs(os.path.join(git, part))
        url = self._source.url
        if any(letter in url for letter in '"\\\n\r\0') or url.startswith("-"):
            raise Failed("clone", "the repository's URL holds characters that no URL has")
        _write(git, "HEAD", "ref: refs/heads/main\n")
        _write(
            git,
            "config",
            "[core]\n\trepositoryformatversion = 0\n\tbare = false\n"
            f'[remote "origin"]\n\turl = "{url}"\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n',
        )
        if alternate is not None:
            _write(git, "objects/info/alternates", alternate + "\n")

    def _credentials(self) -> list[str]:
        """A helper that reads the password from a file which only this user can read."""
        if not self._source.password:
            return ["-c", "credential.helper="]
        path = os.path.join(self._workspace, "git-credentials")
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(f"username={self._source.username}\npassword={self._source.password}\n")
        helper = f'!f() {{ test "$1" = get && cat {_quoted(path)}; }}; f'
        return ["-c", "credential.helper=", "-c", f"credential.helper={helper}"]

    def _git(self, arguments: list[str], sink: Callable[[bytes], None], watch: Watch) -> None:
        said: list[bytes] = []
        try:
            command = Command(["git", *SAFE, *arguments], cwd=self.folder, env=self._environment)
        except FileNotFoundError:
            raise Failed("clone", "git is missing where builds run: apt-get install git") from None
        code = command.run(said.append, watch)
        if code == 0:
            return
        text = b"".join(said)[-8192:]
        sink(text)
        raise Failed("clone", _reason(text.decode("utf-8", "replace")), code)


def _reason(text: str) -> str:
    lowered = text.lower()
    for sign, reason in REASONS:
        if sign in lowered:
            return reason
    return "git could not get the commit; what it said is above"


def _write(folder: str, name: str, text: str) -> None:
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
        file.write(text)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
