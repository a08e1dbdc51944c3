"""A git repository made by hand: what `git init`, `remote add` and `config` would do in three processes."""

from __future__ import annotations

import os

from kedge_runner.errors import Failed

HEX = frozenset("0123456789abcdef")
#: what git allows in no name of a ref
NOT_IN_REFS = frozenset(" ~^:?*[\\\x7f")


def is_commit(text: str) -> bool:
    """Whether it is a whole commit hash, and so can be nothing else to git."""
    return len(text) in {40, 64} and set(text) <= HEX


def is_branch(text: str) -> bool:
    """Whether `refs/heads/` and this is the name of one ref, and no pattern or option."""
    if not text or set(text) & NOT_IN_REFS or any(letter < " " for letter in text):
        return False
    return ".." not in text and "@{" not in text and not text.endswith((".lock", "/", "."))


def make_repository(folder: str, *, url: str, commit: str, borrow: str | None) -> None:
    """An empty repository whose `origin` is `url`; it finds the objects of the folder `borrow` as its own.

    Raises `Failed` for a URL that git could take for something else.
    """
    if url.startswith("-") or any(letter <= " " or letter in '"\\\x7f' for letter in url):
        raise Failed("clone", "the repository's URL holds characters that no URL has")
    git = os.path.join(folder, ".git")
    for part in ("objects/info", "refs/heads"):
        os.makedirs(os.path.join(git, part))
    sha256 = len(commit) == 64
    extensions = "[extensions]\n\tobjectFormat = sha256\n" if sha256 else ""
    _write(git, "HEAD", "ref: refs/heads/main\n")
    _write(
        git,
        "config",
        f"[core]\n\trepositoryformatversion = {int(sha256)}\n\tbare = false\n{extensions}"
        f'[remote "origin"]\n\turl = "{url}"\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n',
    )
    if borrow is not None:
        _write(git, "objects/info/alternates", borrow + "\n")


def objects_to_borrow(local: str | None) -> str | None:
    """The objects of a repository on this machine, if they can be read from where they lie."""
    if local is None or not os.path.isabs(local) or "\n" in local:
        return None
    objects = os.path.join(local, "objects")
    whole = not os.path.exists(os.path.join(local, "shallow"))
    return objects if whole and os.access(objects, os.R_OK | os.X_OK) else None


class Credentials:
    """A user name and password in a file which only this user can read, and only while they are needed."""

    def __init__(self, path: str, *, url: str, username: str, password: str) -> None:
        """Write nothing yet. Raises `Failed` for what cannot be a user name or password."""
        if any(letter in username + password for letter in "\r\n\0"):
            raise Failed("clone", "the credentials for the repository hold a line break. Renew them")
        self._path = path
        self._text = f"username={username or 'kedge'}\npassword={password}\n" if password else ""
        scheme, _, rest = url.partition("://")
        # for this host alone: a redirect to another must not get the password
        self._scope = f"{scheme}://{rest.partition('/')[0].rpartition('@')[2]}"

    def __enter__(self) -> list[str]:
        """Write the file; return the options by which git finds it."""
        options = ["-c", "credential.helper="]
        if not self._text:
            return options
        with os.fdopen(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(self._text)
        quoted = self._path.replace("'", "'\\''")
        helper = f"!f() {{ test \"$1\" = get && cat '{quoted}'; }}; f"
        return [*options, "-c", f"credential.{self._scope}.helper={helper}"]

    def __exit__(self, *_: object) -> None:
        """Remove the file."""
        if self._text:
            os.unlink(self._path)


def _write(folder: str, name: str, text: str) -> None:
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
        file.write(text)
