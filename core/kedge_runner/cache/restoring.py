"""Restores one unit: fetch, check and unpack in one go beside the project, then put it in its place."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import threading
import time

from kedge_runner.cache.compression import decompress
from kedge_runner.cache.errors import CacheFailed, NotNow
from kedge_runner.cache.limits import Budget
from kedge_runner.cache.placing import STAGE, put_in_place
from kedge_runner.cache.restored import moment_of, note
from kedge_runner.cache.transfer import download
from kedge_runner.cache.unpack import Unpacker
from kedge_runner.cache.way import Way
from kedge_runner.errors import Refused
from kedge_runner.pipes import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kedge_runner.cache.compression import Process
    from kedge_runner.cache.kedge import Kedge
    from kedge_runner.cache.transfer import Request
    from kedge_runner.cache.unit import Unit


class Fetch:
    """Feeds an archive to a process as it comes, and knows at the end whether it is the right one."""

    def __init__(self, request: Request, *, size: int, sha256: str) -> None:
        """Nothing is sent yet."""
        self._request = request
        self._size = size
        self._sha256 = sha256
        self._error: Exception | None = None
        self._thread: threading.Thread | None = None

    def start(self, process: Process) -> None:
        """Begin to feed."""
        self._thread = threading.Thread(target=self._run, args=(process,), daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Return if all of it came and was right. Raises as `download` does."""
        if self._thread is not None:
            self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self, process: Process) -> None:
        try:
            self._feed(process.input)
            process.end_input()
        except Exception as error:  # noqa: BLE001  (raised in the thread that waits for this one)
            self._error = error
            process.kill()

    def _feed(self, target: int) -> None:
        digest, size, broken = hashlib.sha256(), 0, False
        for data in download(self._request):
            size += len(data)
            if size > self._size:
                raise CacheFailed("it is longer than what was saved")
            digest.update(data)
            try:
                if not broken:
                    write_all(target, data)
            except BrokenPipeError:
                broken = True  # what follows is read all the same: a wrong digest is the better reason
        if size != self._size:
            raise CacheFailed("it is shorter than what was saved")
        if digest.hexdigest() != self._sha256:
            raise CacheFailed("it is not what was saved: its SHA-256 differs")


def restore(kedge: Kedge, unit: Unit, hit: dict[str, Any], workspace: str) -> str:
    """Restore what Kedge has found; return what to tell. Raises `CacheFailed` or `OSError`."""
    began = time.monotonic()
    told: list[str] = []
    try:
        way = Way(kedge, hit["get"], f"/caches/{hit['id']}")
        way.travel(lambda get: told.append(_once(get, unit, hit, workspace)))
    except NotNow:
        raise
    except CacheFailed:
        _reject(kedge, hit["id"])
        raise
    took = time.monotonic() - began
    return f"restored {hit['size']} bytes ({told[0]}) in {took:.1f} s from {hit['key']} of {hit['branch']}"


def _reject(kedge: Kedge, archive_id: str) -> None:
    """Have it forgotten, so that this build saves a good one. Only trusted builds are heard."""
    try:
        kedge.call("POST", f"/caches/{archive_id}/reject")
    except Refused:
        pass


def _once(get: Request, unit: Unit, hit: dict[str, Any], workspace: str) -> str:
    fetch = Fetch(get, size=hit["size"], sha256=hit["sha256"])
    stage = tempfile.mkdtemp(prefix=STAGE, dir=workspace)
    try:
        unpacker = _unpack(fetch, stage, unit, hit["size"])
        kept = put_in_place(stage, workspace, unit.paths)
        if not kept:
            note(workspace, unit, hit, unpacker.folders, moment_of(stage))
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return f"{unpacker.files} files" + (f", {kept} kept as they were" if kept else "")


def _unpack(fetch: Fetch, stage: str, unit: Unit, size: int) -> Unpacker:
    unpacker = Unpacker(stage, unit.paths, Budget(size))
    error: Exception | None = None
    try:
        with decompress() as process:
            fetch.start(process)
            try:
                unpacker.run(process.output)
            except (CacheFailed, OSError) as found:
                error = found
                process.kill()
            fetch.wait()
            if error is None:
                process.finish()
    except CacheFailed as found:
        # of two reasons the digest's is the better one, unless it is only that of a broken pipe
        error = found
    finally:
        unpacker.close()
    if error is not None:
        raise error
    return unpacker
