"""What a version consists of: paths, and the content behind each."""

from __future__ import annotations

import unicodedata
from dataclasses import asdict, dataclass
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from kedge.contracts.runtime import InstanceKind
from kedge.errors import InvalidInput, TooLarge
from kedge.workers.run_spec import RunSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: the kind of versions that are files and nothing else
STATIC = "static"
MOST_FILES = 20_000
LARGEST_FILE = 25 * 1024 * 1024
#: of a version that runs: compiled packages are large
LARGEST_PROGRAM_FILE = 256 * 1024 * 1024
LARGEST_VERSION = 1024 * 1024 * 1024
LONGEST_PATH = 1024
#: offending files that a message names
NAMED = 10


class File(NamedTuple):
    """The content behind a path."""

    sha256: str
    size: int
    executable: bool = False


@dataclass(frozen=True)
class Manifest:
    """Immutable. Paths are relative, with `/` between parts, and differ by case.

    `run` tells how instances are made, of every kind but `static`.
    """

    files: Mapping[str, File]
    kind: str = STATIC
    run: RunSpec | None = None

    @cached_property
    def json(self) -> bytes:
        """The canonical form: equal manifests give equal bytes."""
        whole: dict[str, Any] = {"kind": self.kind, "files": self._plain_files}
        if self.run is not None:
            whole["run"] = asdict(self.run)
        return orjson.dumps(whole, option=orjson.OPT_SORT_KEYS)

    @cached_property
    def tree(self) -> str:
        """The SHA-256 of its files alone, which versions that are run in different ways may share."""
        return sha256(orjson.dumps(self._plain_files, option=orjson.OPT_SORT_KEYS)).hexdigest()

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the canonical form."""
        return sha256(self.json).hexdigest()

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Every content once, with its size."""
        return {file.sha256: file.size for file in self.files.values()}

    @property
    def byte_count(self) -> int:
        """The bytes of all files together."""
        return sum(file.size for file in self.files.values())

    @property
    def _plain_files(self) -> dict[str, tuple[Any, ...]]:
        return {path: tuple(file) if file.executable else file[:2] for path, file in self.files.items()}

    @classmethod
    def from_json(cls, data: bytes) -> Manifest:
        """Read back what `json` gave."""
        whole = orjson.loads(data)
        return cls(
            files={path: File(*file) for path, file in whole["files"].items()},
            kind=whole["kind"],
            run=RunSpec.from_plain(whole["run"]) if "run" in whole else None,
        )


def check(manifest: Manifest) -> None:
    """Raise `InvalidInput` or `TooLarge`, naming the files that cannot be."""
    files = manifest.files
    if not files and manifest.kind != InstanceKind.IMAGE:
        raise InvalidInput("there is nothing to deploy: the folder holds no files")
    if len(files) > MOST_FILES:
        raise TooLarge(f"{len(files)} files are too many: a version may have {MOST_FILES}")
    most = LARGEST_FILE if manifest.kind == STATIC else LARGEST_PROGRAM_FILE
    if large := [path for path, file in files.items() if file.size > most]:
        raise TooLarge(f"a file may have {most >> 20} MiB; larger are {_name(large)}")
    if manifest.byte_count > LARGEST_VERSION:
        raise TooLarge(f"all files together may have {LARGEST_VERSION >> 20} MiB")
    if wrong := [path for path in files if not is_safe_path(path)]:
        raise InvalidInput(
            "a path must be relative and at most 1,024 bytes long, with no empty, `.` or `..` part, "
            f"no backslash and no control character; wrong are {_name(wrong)}"
        )
    if torn := [path for path, file in files.items() if manifest.sizes[file.sha256] != file.size]:
        raise InvalidInput(f"one SHA-256 is given with several sizes, for {_name(torn)}")


def is_safe_path(path: str) -> bool:
    """Whether a file of a version may have this path."""
    if not path or len(path.encode("utf-8", "replace")) > LONGEST_PATH or "\\" in path:
        return False
    if any(part in {"", ".", ".."} for part in path.split("/")):
        return False
    return path.isprintable() or not any(unicodedata.category(c) in {"Cc", "Cs"} for c in path)


def file_key(account_id: str, digest: str) -> str:
    """Where a content lies in the blob store. Per account: nobody can probe another's files."""
    return f"files/{account_id}/{digest[:2]}/{digest}"


def manifest_key(account_id: str, digest: str) -> str:
    """Where a manifest lies in the blob store."""
    return f"manifests/{account_id}/{digest}.json"


def _name(paths: Iterable[str]) -> str:
    paths = list(paths)
    more = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
    return ", ".join(repr(path[:200]) for path in paths[:NAMED]) + more
