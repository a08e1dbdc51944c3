"""Keys with `{hash:FILE}`, `{branch}` and `{commit}` in them."""

from __future__ import annotations

import glob
import hashlib
import os
import stat

from kedge_runner.cache.errors import CacheFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_FILES = 10_000
NO_FILES = "none"
LEFT_OUT = frozenset({"node_modules", ".git"})


class Keys:
    """Fills keys in for one commit, whose project lies in `folder`."""

    def __init__(self, folder: str, *, branch: str, commit: str) -> None:
        """Nothing is read yet."""
        self._folder = os.path.realpath(folder)
        self._values = {"branch": branch, "commit": commit}

    def fill(self, template: str) -> str:
        """The key. Raises `CacheFailed` for a placeholder that is none."""
        text, rest = "", template
        while rest:
            plain, brace, rest = rest.partition("{")
            text += plain
            if brace:
                name, end, rest = rest.partition("}")
                if not end:
                    raise CacheFailed("a { without a }")
                text += self._value(name)
        return text

    def _value(self, name: str) -> str:
        kind, colon, pattern = name.partition(":")
        if kind == "hash" and colon:
            return self.hash(pattern)
        if name not in self._values:
            raise CacheFailed(
                f"{{{name[:80]}}} is unknown: there are {{hash:FILE}}, {{branch}} and {{commit}}"
            )
        return self._values[name]

    def hash(self, pattern: str) -> str:
        """A digest of names and contents of the files that a pattern with `*` and `**` means."""
        if not pattern or pattern.startswith("/") or ".." in pattern.split("/") or "\0" in pattern:
            raise CacheFailed(f"{{hash:{pattern[:80]}}} must name files within the project")
        digest, count = hashlib.sha256(), 0
        for name in self._matches(pattern):
            count += 1
            if count > MOST_FILES:
                raise CacheFailed(f"{{hash:{pattern[:80]}}} means over {MOST_FILES} files")
            digest.update(f"{name}\0{self._digest(name)}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()[:32] if count else NO_FILES

    def _matches(self, pattern: str) -> Iterator[str]:
        for name in sorted(glob.iglob(pattern, root_dir=self._folder, recursive=True, include_hidden=True)):
            inside = os.path.realpath(os.path.join(self._folder, name)).startswith(self._folder + os.sep)
            if inside and not LEFT_OUT.intersection(name.split("/")) and self._is_file(name):
                yield name

    def _is_file(self, name: str) -> bool:
        try:
            return stat.S_ISREG(os.stat(os.path.join(self._folder, name)).st_mode)
        except OSError:
            return False

    def _digest(self, name: str) -> str:
        try:
            with open(os.path.join(self._folder, name), "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise CacheFailed(f"{name} cannot be read for the key ({error.strerror})") from error
