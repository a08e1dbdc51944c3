"""A gibibyte to S3 and back, beside boto3's own transfer manager on the same store."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from boto3.s3.transfer import TransferConfig

from bench.figures import Figure, p50
from bench.node import memory
from kedge.testing import ceph
from kedge.testing.fake_host import FakeHost
from kedge_s3.blobs import S3Blobs
from kedge_s3.checks import etag_of_parts, md5
from kedge_s3.settings import MIB, S3Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_s3 import S3Client

    from kedge.testing.ceph import Gateway

    Times = list[tuple[float, float]]

SIZE = 1024 * MIB
ROUNDS = 3
BUCKET = "kedge-bench"
#: part size and threads of boto3's transfer manager: its default and what does better somewhere
RIVALS = [(8 * MIB, 10), (8 * MIB, 20), (16 * MIB, 8), (32 * MIB, 4), (32 * MIB, 8), (64 * MIB, 4)]
PUT, GET = 0, 1
REASON = "not measured: no Ceph here"


def measure() -> list[Figure]:
    """Storing and reading a gibibyte."""
    if reason := ceph.what_is_missing():
        print(f"{REASON}: {reason}")
        return []
    with tempfile.TemporaryDirectory(prefix="kedge-bench-") as name, _store(Path(name)) as bench:
        return bench.run()


class Bench:
    """One store, one large file, two who carry it."""

    def __init__(self, folder: Path, gateway: Gateway) -> None:
        self.source, self.target = folder / "source", folder / "target"
        with self.source.open("wb") as file:
            for _ in range(SIZE // MIB):
                file.write(os.urandom(MIB))
        self.client: S3Client = boto3.client(
            "s3",
            endpoint_url=gateway.endpoint,
            region_name="us-east-1",
            aws_access_key_id=gateway.access_key,
            aws_secret_access_key=gateway.secret_key,
        )
        self.client.create_bucket(Bucket=BUCKET)
        (folder / "access").write_text(gateway.access_key)
        (folder / "secret").write_text(gateway.secret_key)
        self.settings = S3Settings.model_validate(
            {
                "bucket": BUCKET,
                "endpoint": gateway.endpoint,
                "region": "us-east-1",
                "access_key": "file:access",
                "secret_key": "file:secret",
            }
        )
        self.host = FakeHost(folder)

    def run(self) -> list[Figure]:
        """Find boto3's best settings, then take turns."""
        tried = {rival: (self.rival_put(rival), self.rival_get(rival)) for rival in RIVALS}
        best_put = min(RIVALS, key=lambda rival: tried[rival][0])
        best_get = min(RIVALS, key=lambda rival: tried[rival][1])
        ours: Times = []
        theirs: Times = []
        checked: Times = []
        for _ in range(ROUNDS):
            ours.append(asyncio.run(self.own()))
            theirs.append((self.rival_put(best_put), self.rival_get(best_get)))
            checked.append((self.rival_put(best_get), self.rival_get(best_get, check=True)))
        return [
            self.figure("1 GiB file → S3", PUT, ours, theirs, best_put),
            self.figure("1 GiB from S3 → file", GET, ours, theirs, best_get),
            replace(self.figure("… by boto3, checked as ours", GET, checked, theirs, best_get), target=None),
            Figure(name="… peak memory of the process", value=memory(os.getpid(), "VmHWM"), unit="MiB"),
        ]

    def figure(self, name: str, way: int, ours: Times, theirs: Times, rival: tuple[int, int]) -> Figure:
        """Ours beside theirs, there or back."""
        own, others = (p50([both[way] for both in times]) for times in (ours, theirs))
        return Figure(
            name=name,
            value=own,
            unit="s",
            target=1.2 * others,
            baseline=others,
            baseline_name=f"boto3's transfer manager, {rival[0] // MIB} MiB in {rival[1]} threads",
        )

    async def own(self) -> tuple[float, float]:
        """Kedge's way, there and back; every byte checked."""
        store = S3Blobs(self.settings, self.host)
        await store.open()
        began = time.perf_counter()
        await store.put("large", self.source)
        put = time.perf_counter() - began
        began = time.perf_counter()
        with self.target.open("wb") as file:
            async for part in store.get("large"):
                file.write(part)
        get = time.perf_counter() - began
        assert self.target.stat().st_size == SIZE, "the file came back shorter than it was"
        await store.delete("large")
        await store.close()
        return put, get

    def rival_put(self, rival: tuple[int, int]) -> float:
        """boto3's way there."""
        return _seconds(
            lambda: self.client.upload_file(str(self.source), BUCKET, "rival", Config=_config(rival))
        )

    def rival_get(self, rival: tuple[int, int], *, check: bool = False) -> float:
        """boto3's way back, where it checks nothing unless it is told to; it leaves nothing behind."""

        def fetch() -> None:
            self.client.download_file(BUCKET, "rival", str(self.target), Config=_config(rival))
            if check:
                self.check(rival)

        seconds = _seconds(fetch)
        self.client.delete_object(Bucket=BUCKET, Key="rival")
        return seconds

    def check(self, rival: tuple[int, int]) -> None:
        """Compare a file with its ETag, which is made of the MD5s of its parts."""
        size, threads = rival
        etag = self.client.head_object(Bucket=BUCKET, Key="rival")["ETag"].strip('"')
        with self.target.open("rb") as file, ThreadPoolExecutor(threads) as pool:
            digests = list(
                pool.map(lambda start: md5(os.pread(file.fileno(), size, start)), range(0, SIZE, size))
            )
        assert etag_of_parts(digests) == etag, "the file came back with other bytes than it had"


@contextmanager
def _store(folder: Path) -> Iterator[Bench]:
    with ceph.gateway(folder / "ceph") as gateway:
        yield Bench(folder, gateway)


def _config(rival: tuple[int, int]) -> TransferConfig:
    size, threads = rival
    return TransferConfig(multipart_threshold=size, multipart_chunksize=size, max_concurrency=threads)


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
