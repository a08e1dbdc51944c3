"""Uploads a folder as a version; only files that Kedge does not have yet travel."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import deque

from kedge_runner.client import Client
from kedge_runner.errors import RunnerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CONNECTIONS = 4
LEFT_OUT = frozenset({".git"})


class DeployFailed(RunnerError):
    """The folder cannot be deployed."""


def deploy_directory(
    folder: str | os.PathLike[str],
    *,
    url: str,
    token: str,
    account: str,
    worker: str,
    deploy: bool = True,
    alias: str | None = None,
    message: str = "",
    commit_hash: str | None = None,
    branch: str | None = None,
) -> dict[str, Any]:
    """Upload `folder` and make it live (`deploy`) or visible under `alias`; return what Kedge says.

    Raises `DeployFailed` for a folder that cannot be served and `Refused` with Kedge's own words.
    """
    paths = dict(find_files(os.fspath(folder)))
    if not paths:
        raise DeployFailed(f"{folder} holds no files; check the folder's name and what the build writes")
    files = {name: describe(path) for name, path in paths.items()}
    prefix = f"/client/v4/accounts/{account}/workers/workers/{worker}/versions/uploads"
    client = Client(url, token, prefix)
    request = {
        "kind": "static",
        "files": files,
        "commit_hash": commit_hash,
        "branch": branch,
        "message": message,
    }
    upload = client.call("POST", "", request)
    by_digest = {info["sha256"]: paths[name] for name, info in files.items()}
    missing = [(digest, by_digest[digest]) for digest in upload["missing"]]
    send_files(missing, url, token, f"{prefix}/{upload['upload_id']}/files")
    result = client.call("POST", f"/{upload['upload_id']}/complete", {"deploy": deploy, "alias": alias})
    return {**result, "files": len(files), "uploaded": len(missing)}


def find_files(folder: str) -> list[tuple[str, str]]:
    """Name in the version and path of every file, sorted. A link may not lead out of the folder."""
    root = os.path.realpath(folder)
    found = []
    for current, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in LEFT_OUT)
        for name in names:
            path = os.path.join(current, name)
            real = os.path.realpath(path)
            if not real.startswith(root + os.sep):
                raise DeployFailed(f"{os.path.relpath(path, root)} is a link that leads out of the folder")
            if os.path.isfile(real):
                found.append((os.path.relpath(path, root).replace(os.sep, "/"), real))
    return sorted(found)


def describe(path: str) -> dict[str, Any]:
    """Digest and size of a file."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return {"sha256": digest.hexdigest(), "size": file.tell()}


def send_files(files: list[tuple[str, str]], url: str, token: str, prefix: str) -> None:
    """Upload files over a few connections at once. Raises the first error."""
    waiting = deque(files)
    errors: list[Exception] = []

    def work() -> None:
        client = Client(url, token, prefix)
        try:
            while not errors:
                digest, path = waiting.popleft()
                with open(path, "rb") as file:
                    client.send("PUT", f"/{digest}", file.read(), "application/octet-stream")
        except IndexError:
            pass
        except Exception as error:  # noqa: BLE001  (raised below, in the thread that asked)
            errors.append(error)
        finally:
            client.close()

    threads = [threading.Thread(target=work) for _ in range(min(CONNECTIONS, len(files)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
