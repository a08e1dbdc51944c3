"""The build cache of a real node_modules on S3, beside tar, zstd and boto3 on the same store."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import boto3
from boto3.s3.transfer import TransferConfig

from bench.figures import Figure, p50
from bench.node import build_now, get_build, git, memory, push, running_node, wait_until_idle
from kedge.cli.workers import create_worker
from kedge.testing import ceph
from kedge_process.folders import spread

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_s3 import S3Client

    from bench.node import Node
    from kedge.testing.ceph import Gateway

ROUNDS = 3
BUCKET = "kedge-bench"
#: installed once, and kept for the next time
PROJECT = Path(__file__).parent.parent / ".kedge" / "bench" / "project"
PACKAGES = {
    "@babel/preset-env": "7.25.3",
    "@emotion/react": "11.13.0",
    "@emotion/styled": "11.13.0",
    "@mui/material": "5.16.7",
    "core-js": "3.37.1",
    "date-fns": "3.6.0",
    "eslint": "8.57.0",
    "lodash": "4.17.21",
    "monaco-editor": "0.50.0",
    "next": "14.2.5",
    "react": "18.3.1",
    "react-dom": "18.3.1",
    "rxjs": "7.8.1",
    "typescript": "5.5.4",
    "webpack": "5.93.0",
}
INSTALL = ["npm", "install", "--ignore-scripts"]
LEAST_FILES, LEAST_BYTES = 20_000, 300_000_000
DECLARED = '[[cache]]\nname = "modules"\npaths = ["node_modules"]\n'
#: what a build has made is on the disk before it is saved, and so is what tar saves
BUILD = "test -d node_modules || cp -a {source} node_modules; sync -f ."
CONFIG = """
[blobs]
use = "s3"
[blobs.s3]
bucket = "{bucket}"
endpoint = "{endpoint}"
region = "us-east-1"
access_key = "file:{folder}/access"
secret_key = "file:{folder}/secret"
[compute.process]
keep_workspaces = true
# nor do the rivals give way to anybody
nice = 0
"""


def measure() -> list[Figure]:
    """Saving, restoring and not saving again."""
    if reason := ceph.what_is_missing() or _missing_program():
        print(f"not measured: {reason}")
        return []
    modules = _installed()
    with _store() as (gateway, folder):
        config = CONFIG.format(bucket=BUCKET, endpoint=gateway.endpoint, folder=folder)
        with running_node(config) as node:
            rival = Rival(gateway, node.folder / "rival")
            return Bench(node, modules, rival).run()


@dataclass
class Times:
    """Seconds of each round."""

    save: list[float] = field(default_factory=list)
    restore: list[float] = field(default_factory=list)
    unchanged: list[float] = field(default_factory=list)


class Bench:
    """A worker whose builds cache what npm has installed, and a rival with the same tree and store.

    Nothing is removed before the end: for minutes ext4 steps over the inodes of what was removed.
    """

    def __init__(self, node: Node, modules: Path, rival: Rival) -> None:
        self._node = node
        self._modules = modules
        self._rival = rival
        build = BUILD.format(source=modules)
        worker = create_worker(
            node.server, "app", build=build, deploy="", root="/", branch="main", previews=False, cache=True
        )
        self._trigger = str(worker["triggers"][0]["trigger_uuid"])
        repository = node.folder / "repo"
        repository.mkdir()
        (repository / "kedge.toml").write_text(DECLARED)
        git("init", "-q", "-b", "main", cwd=repository)
        git("add", ".", cwd=repository)
        git("commit", "-q", "-m", "Declare a cache", cwd=repository)
        push(node.server, repository, "app")
        wait_until_idle(node.server)

    def run(self) -> list[Figure]:
        """Take turns, then once more for the memory."""
        ours, theirs = Times(), Times()
        for _ in range(ROUNDS):
            self._own(ours)
            self._rival.round(self._modules, theirs)
        print(f"ours: {ours}\ntheirs: {theirs}", file=sys.stderr)
        with _Watched() as watched:
            self._own(Times())
        return [
            _figure("cache of node_modules: save", ours.save, 1.2, theirs.save, "tar | zstd -T0 | boto3"),
            _figure("… restore", ours.restore, 1.1, theirs.restore, "boto3 | zstd -d | tar x"),
            _figure("… save, unchanged", ours.unchanged, 0.3, theirs.save, "tar | zstd -T0 | boto3"),
            Figure(name="… peak memory, zstd included", value=watched.peak, unit="MiB", target=100),
        ]

    def _own(self, times: Times) -> None:
        """Two builds: one that finds nothing, and one that finds all."""
        self._node.server.delete("/builds/workers/app/caches")
        times.save.append(self._build()["save_cache"])
        found = self._build()
        times.restore.append(found["restore_cache"])
        times.unchanged.append(found["save_cache"])

    def _build(self) -> dict[str, float]:
        """Seconds of each phase of a build, everything a build waits for included."""
        os.sync()
        build = build_now(self._node.server, self._trigger)
        wait_until_idle(self._node.server, every=1.0)
        phases = get_build(self._node.server, build["build_uuid"])["kedge"]["phases"]
        return {phase["name"]: phase["duration_ms"] / 1000 for phase in phases}


class Rival:
    """The same by tar, zstd and boto3's transfer manager, each piped into the next."""

    def __init__(self, gateway: Gateway, folder: Path) -> None:
        self._folder = folder
        self._round = 0
        folder.mkdir()
        spread(folder)
        self._client = _client(gateway)

    def round(self, modules: Path, times: Times) -> None:
        """There and back, in fresh folders."""
        self._round += 1
        source, target = (self._folder / f"{name}-{self._round}" for name in ("source", "target"))
        source.mkdir()
        target.mkdir()
        subprocess.run(["cp", "-a", str(modules), str(source / "node_modules")], check=True)
        os.sync()
        began = time.monotonic()
        self._save(source)
        times.save.append(time.monotonic() - began)
        os.sync()
        began = time.monotonic()
        self._restore(target)
        times.restore.append(time.monotonic() - began)

    def _save(self, source: Path) -> None:
        tar = subprocess.Popen(["tar", "-cf", "-", "node_modules"], cwd=source, stdout=subprocess.PIPE)
        zstd = subprocess.Popen(["zstd", "-q", "-c", "-T0"], stdin=tar.stdout, stdout=subprocess.PIPE)
        assert tar.stdout is not None
        assert zstd.stdout is not None
        tar.stdout.close()
        with zstd.stdout as archive:
            self._client.upload_fileobj(archive, BUCKET, "rival", Config=TransferConfig(max_concurrency=4))
        _check(tar, zstd)

    def _restore(self, target: Path) -> None:
        zstd = subprocess.Popen(["zstd", "-q", "-d", "-c"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert zstd.stdin is not None
        assert zstd.stdout is not None
        tar = subprocess.Popen(["tar", "-xf", "-"], cwd=target, stdin=zstd.stdout)
        zstd.stdout.close()
        with zstd.stdin as pipe:
            for part in self._client.get_object(Bucket=BUCKET, Key="rival")["Body"].iter_chunks(1 << 20):
                pipe.write(part)
        _check(zstd, tar)


class _Watched:
    """Looks again and again how much memory runners and what they start for their caches hold."""

    def __init__(self) -> None:
        self.peak = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(0.02):
            found = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())
            self.peak = max(self.peak, sum(memory(pid, "VmRSS") for pid in found if _is_runner(pid)))


def _is_runner(pid: int) -> bool:
    """Whether it is a runner at work, the process that moves its caches, or that one's zstd."""
    with suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
        works = b"kedge_runner" in words or words.startswith((b"zstd", b"/usr/bin/zstd"))
        return works and b"KEDGE_ATTEMPT_ID=" in Path(f"/proc/{pid}/environ").read_bytes()
    return False


def _figure(name: str, ours: list[float], most: float, theirs: list[float], rival: str) -> Figure:
    baseline = p50(theirs)
    return Figure(
        name=name,
        value=p50(ours),
        unit="s",
        target=most * baseline,
        baseline=baseline,
        baseline_name=rival,
    )


def _missing_program() -> str | None:
    missing = [name for name in ("npm", "tar", "zstd") if shutil.which(name) is None]
    return f"{', '.join(missing)} not found" if missing else None


def _installed() -> Path:
    """A real node_modules. Raises if npm's registry has not given enough."""
    modules = PROJECT / "node_modules"
    wanted = json.dumps({"name": "site", "version": "1.0.0", "private": True, "dependencies": PACKAGES})
    manifest = PROJECT / "package.json"
    if not (manifest.exists() and manifest.read_text() == wanted and (PROJECT / "done").exists()):
        PROJECT.mkdir(parents=True, exist_ok=True)
        manifest.write_text(wanted)
        subprocess.run([*INSTALL, "--no-audit", "--no-fund"], cwd=PROJECT, check=True)
        (PROJECT / "done").touch()
    sizes = [path.lstat().st_size for path in modules.rglob("*") if not path.is_dir()]
    assert len(sizes) >= LEAST_FILES, f"only {len(sizes)} files in {modules}"
    assert sum(sizes) >= LEAST_BYTES, f"only {sum(sizes)} bytes in {modules}"
    return modules


@contextmanager
def _store() -> Iterator[tuple[Gateway, Path]]:
    """A Ceph with a bucket, and the folder that its keys lie in."""
    folder = Path(tempfile.mkdtemp(prefix="kb-"))
    with ceph.gateway(folder / "ceph") as gateway:
        (folder / "access").write_text(gateway.access_key)
        (folder / "secret").write_text(gateway.secret_key)
        _client(gateway).create_bucket(Bucket=BUCKET)
        yield gateway, folder
    shutil.rmtree(folder, ignore_errors=True)


def _client(gateway: Gateway) -> S3Client:
    client: Any = boto3.client(
        "s3",
        endpoint_url=gateway.endpoint,
        region_name="us-east-1",
        aws_access_key_id=gateway.access_key,
        aws_secret_access_key=gateway.secret_key,
    )
    return client  # type: ignore[no-any-return]


def _check(*processes: subprocess.Popen[bytes]) -> None:
    for process in processes:
        assert process.wait() == 0, f"{process.args!r} failed"
