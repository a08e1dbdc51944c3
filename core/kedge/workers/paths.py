"""What a URL's path means within one version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_to_bytes

from kedge.workers.manifest import LONGEST_PATH

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kedge.workers.manifest import File

#: what may stand in a redirect as it is
PLAIN = "/~!$&'()*+,;=:@"


@dataclass(frozen=True)
class Found:
    """A file of the version; `status` is 404 if it is the version's page for what is not there."""

    path: str
    file: File
    status: int = 200


@dataclass(frozen=True)
class Elsewhere:
    """The path under which it is found, encoded for a URL."""

    location: str


def decode(raw_path: bytes) -> str | None:
    """The path behind a request, decoded once; `None` for one that no browser would send.

    That is: not UTF-8, a NUL or backslash in it, `..` as a part, or no slash at its start.
    """
    raw = raw_path if b"%" not in raw_path else unquote_to_bytes(raw_path)
    try:
        path = raw.decode()
    except UnicodeDecodeError:
        return None
    if not path.startswith("/") or "\0" in path or "\\" in path or "/../" in path or path.endswith("/.."):
        return None
    return path


def find(files: Mapping[str, File], path: str) -> Found | Elsewhere | None:
    """Read a decoded path as the Workers platform does with `auto-trailing-slash`.

    A file is served under its own path. `/about/` is `about/index.html`, `/about` is `about.html`; each
    sends to the other if only the other is there. What is not there gets the nearest `404.html` upwards.
    """
    name = path[1:]
    if name in files:
        return Found(name, files[name])
    if not name or name.endswith("/"):
        index, page = f"{name}index.html", f"{name[:-1]}.html"
        if index in files:
            return Found(index, files[index])
        if page in files and name[:-1].rpartition("/")[2]:
            return Elsewhere(quote(path[:-1], PLAIN))
    else:
        if f"{name}.html" in files:
            return Found(f"{name}.html", files[f"{name}.html"])
        if f"{name}/index.html" in files:
            return Elsewhere(quote(f"{path}/", PLAIN))
    return _not_found_page(files, name)


def _not_found_page(files: Mapping[str, File], name: str) -> Found | None:
    # A longer path has no folder in any version, and would take long to climb.
    folder = name if len(name) <= LONGEST_PATH else ""
    while folder:
        folder = folder.rpartition("/")[0]
        page = f"{folder}/404.html" if folder else "404.html"
        if page in files:
            return Found(page, files[page], 404)
    return Found("404.html", files["404.html"], 404) if "404.html" in files else None
