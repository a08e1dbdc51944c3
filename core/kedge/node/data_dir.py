"""The folder in which a node keeps what is its own."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

import orjson

from kedge.errors import ConfigError, KedgeError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: a Unix socket's path may not be longer
LONGEST_SOCKET_PATH = 100
LOCK = "node.lock"
#: the rights of the group and of everybody
OTHERS = 0o077


class DataDirInUse(KedgeError):
    """Another node runs in the same data dir."""

    code = 10400


@contextmanager
def hold(data_dir: Path) -> Iterator[None]:
    """Make the folder and keep other nodes and users out of it. Raises `DataDirInUse`, `ConfigError`."""
    with _open_lock(data_dir) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataDirInUse(
                f"another Kedge runs in {data_dir}: stop it, or choose another folder by --data-dir"
            ) from error
        yield


def _open_lock(data_dir: Path) -> TextIO:
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        _close_to_others(data_dir)
        return (data_dir / LOCK).open("w")
    except OSError as error:
        mistake = f"server.data_dir: {data_dir} is no folder that Kedge can write to: {error.strerror}"
        raise ConfigError([f"{mistake}; choose another by --data-dir"]) from error


def _close_to_others(data_dir: Path) -> None:
    """What lies there holds secrets, and what an earlier Kedge wrote may be readable for everybody."""
    if not data_dir.stat().st_mode & OTHERS:
        return
    # `--data-dir /var/lib`, by root, must not lock everybody out of that
    is_own = (data_dir / LOCK).exists() or not any(entry.is_dir() for entry in data_dir.iterdir())
    try:
        if is_own:
            data_dir.chmod(0o700)
            return
    except PermissionError:
        pass
    mistake = (
        f"server.data_dir: other users can get into {data_dir}, and it may serve others than Kedge: "
        f"choose a folder of its own, or run `chmod 700 {data_dir}`"
    )
    raise ConfigError([mistake])


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    temporary = path.with_name(path.name + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    temporary.replace(path)


def announce(data_dir: Path, url: str) -> None:
    """Tell the command line on this machine where the node listens."""
    write_private(data_dir / "node.json", orjson.dumps({"url": url, "pid": os.getpid()}).decode())


def runner_socket(data_dir: Path) -> Path | None:
    """Where runners on this machine reach the node, across its restarts; `None` if the path is too long."""
    path = data_dir.absolute() / "runner.sock"
    return path if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH else None
