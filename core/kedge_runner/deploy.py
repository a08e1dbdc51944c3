"""Uploads a folder as a version; only files that Kedge does not have yet travel."""

from __future__ import annotations

import os
import threading

from kedge_runner.client import Client
from kedge_runner.encodings import percent
from kedge_runner.errors import Refused
from kedge_runner.files import DeployFailed, File, find_files
from kedge_runner.site_packages import MODULES, find_site_packages, is_needed
from kedge_runner.worker_file import ASGI, IMAGE, NAME, STATIC, WorkerFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["DeployFailed", "deploy_directory"]

CONNECTIONS = 4
#: of what a version printed that did not start
TAIL_LINES = 20
#: said of an application that does not find what it imports
NO_PACKAGES = f"""
No packages went with it. Push it, and the build installs them; or deploy within the virtual environment that
has them (VIRTUAL_ENV); or install them beside it: pip install --target {MODULES} -r requirements.txt"""
#: somebody waits for this, so Kedge is given up sooner than in a build
PATIENCE = 60.0


def deploy_directory(
    folder: str | os.PathLike[str] | None,
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

    What the worker is stands in the `kedge.toml` of the working folder; without `folder` that names what is
    deployed too. Returns what Kedge says of the version, with the counts `files` and `uploaded`, once its
    instances answer. Raises `DeployFailed` for a folder that cannot be served, and for a version whose
    instances do not start, and `Refused` with Kedge's own words.
    """
    worker_file = WorkerFile.read(os.getcwd())
    _refuse_another_project(folder)
    files = files_of(folder, worker_file, dict(os.environ))
    prefix = f"/client/v4/accounts/{_quoted(account)}/workers/workers/{_quoted(worker)}/versions/uploads"
    client = Client(url, token, prefix, patience=PATIENCE)
    try:
        request = {
            "kind": worker_file.kind,
            "files": {file.name: _entry(file, worker_file) for file in files},
            "commit_hash": commit_hash,
            "branch": branch,
            "message": message,
        }
        if worker_file.kind != STATIC:
            request["run"] = worker_file.run
        upload = _begin(client, request)
        by_digest = {file.sha256: file for file in files}
        missing = [by_digest[digest] for digest in upload["missing"]]
        path = f"/{_quoted(upload['upload_id'])}"
        _upload(missing, lambda: Client(url, token, f"{prefix}{path}/files", patience=PATIENCE))
        wish = {"deploy": deploy, "alias": alias}
        result = client.call("POST", f"{path}/complete", wish)
        while result.get("state") == "starting":
            result = client.call("POST", f"{path}/complete", wish)
    finally:
        client.close()
    if result.get("state") == "failed":
        raise DeployFailed(_in_words(result) + _what_is_missing(result, files))
    return {**result, "files": len(files), "uploaded": len(missing)}


def _begin(client: Client, request: dict[str, Any]) -> Any:
    """What Kedge says to the upload. Raises `Refused`, which names a key as the file does."""
    try:
        return client.call("POST", "", request)
    except Refused as error:
        place, colon, message = str(error).partition(": ")
        table, dot, key = place.partition(".")
        if (table, dot, colon) != ("run", ".", ": "):
            raise
        key = "memory" if key == "memory_bytes" else key
        raise Refused(error.status, error.code, f"{NAME}: worker.{key}: {message}") from None


def _refuse_another_project(folder: str | os.PathLike[str] | None) -> None:
    """Its program would be published as files for everybody to read."""
    if folder is None or os.path.realpath(folder) == os.getcwd():
        return
    if WorkerFile.read(os.fspath(folder)).kind != STATIC:
        raise DeployFailed(f"{folder} has a {NAME} of its own, for a worker that runs: deploy it from there")


def files_of(
    folder: str | os.PathLike[str] | None, worker_file: WorkerFile, environment: dict[str, str]
) -> list[File]:
    """Everything that travels: the folder, and what the dependencies of an application are."""
    if folder is None and worker_file.directory is None and worker_file.kind == IMAGE:
        return []
    where = os.fspath(folder) if folder is not None else worker_file.directory
    if where is None:
        if worker_file.kind == STATIC:
            raise DeployFailed("give the folder to deploy, or name it in kedge.toml: [worker] directory")
        where = "."
    found = find_files(where, runs=worker_file.kind != STATIC)
    packages = find_site_packages(environment) if worker_file.kind == ASGI else None
    if packages is not None and not any(name.startswith(f"{MODULES}/") for name, _ in found):
        installed = find_files(packages, runs=True)
        found += [(f"{MODULES}/{name}", path) for name, path in installed if is_needed(name)]
    return [File(name, path) for name, path in found]


def _entry(file: File, worker_file: WorkerFile) -> dict[str, Any]:
    entry: dict[str, Any] = {"sha256": file.sha256, "size": file.size}
    if file.executable and worker_file.kind != STATIC:
        entry["executable"] = True
    return entry


def _in_words(result: dict[str, Any]) -> str:
    failure = result["failure"]
    lines = [f"version {result['number']} does not serve: {failure['reason']}. What served before goes on."]
    lines += [f"  {probe}" for probe in failure["probes"]]
    if failure["log_tail"]:
        lines.append("The last that it printed:")
        lines += [f"  {line}" for line in failure["log_tail"].splitlines()[-TAIL_LINES:]]
    return "\n".join(lines)


def _what_is_missing(result: dict[str, Any], files: list[File]) -> str:
    """What to do about packages that an application does not find, if none went with it."""
    alone = not any(file.name.startswith(f"{MODULES}/") for file in files)
    if alone and "ModuleNotFoundError: " in result["failure"]["log_tail"]:
        return NO_PACKAGES
    return ""


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
