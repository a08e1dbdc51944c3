"""Uploads a folder as a version; only files that Kedge does not have yet travel."""

from __future__ import annotations

import os
import threading

from kedge_runner.client import Client
from kedge_runner.encodings import percent
from kedge_runner.files import DeployFailed, File, find_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["DeployFailed", "deploy_directory"]

CONNECTIONS = 4
#: somebody waits for this, so Kedge is given up sooner than in a build
PATIENCE = 60.0


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
    """Upload `folder` and make it live (`deploy`) or visible under `alias`.

    Returns what Kedge says of the version, with the counts `files` and `uploaded`. Raises `DeployFailed`
    for a folder that cannot be served and `Refused` with Kedge's own words.
    """
    files = [File(name, path) for name, path in find_files(os.fspath(folder))]
    prefix = f"/client/v4/accounts/{_quoted(account)}/workers/workers/{_quoted(worker)}/versions/uploads"
    client = Client(url, token, prefix, patience=PATIENCE)
    try:
        request = {
            "kind": "static",
            "files": {file.name: {"sha256": file.sha256, "size": file.size} for file in files},
            "commit_hash": commit_hash,
            "branch": branch,
            "message": message,
        }
        upload = client.call("POST", "", request)
        by_digest = {file.sha256: file for file in files}
        missing = [by_digest[digest] for digest in upload["missing"]]
        path = f"/{_quoted(upload['upload_id'])}"
        _upload(missing, lambda: Client(url, token, f"{prefix}{path}/files", patience=PATIENCE))
        result = client.call("POST", f"{path}/complete", {"deploy": deploy, "alias": alias})
    finally:
        client.close()
    return {**result, "files": len(files), "uploaded": len(missing)}


def _upload(files: list[File], connect: Any) -> None:
    """Upload files over a few connections at once. Raises the first error."""
    waiting = sorted(files, key=lambda file: file.size)
    errors: list[Exception] = []

    def work() -> None:
        client = connect()
        try:
            while waiting and not errors:
                file = waiting.pop()
                client.stream("PUT", f"/{file.sha256}", file, file.size)
        except IndexError:
            pass  # another thread took the last one
        except Exception as error:  # noqa: BLE001  (raised below, in the thread that asked)
            errors.append(error)
        finally:
            client.close()

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(CONNECTIONS, len(files)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def _quoted(text: str) -> str:
    return percent(text.encode()).decode()
