"""A million lines: written, read back, and watched."""

from __future__ import annotations

import asyncio
import http.client
import random
import subprocess
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bench.figures import Figure, p50, p95
from bench.follower import Stamps
from bench.node import build_now, get_build, memory, running_node, wait_until_idle

if TYPE_CHECKING:
    from bench.node import Node

LINES = 1_000_000
FOLLOWERS = 500

WORDS = [
    "compiling",
    "module",
    "src",
    "components",
    "button",
    "index",
    "tsx",
    "resolved",
    "dependency",
    "from",
    "registry",
    "cached",
    "hit",
    "miss",
    "warning",
    "deprecated",
    "transform",
    "chunk",
    "asset",
    "emitted",
    "bytes",
    "gzip",
    "test",
    "passed",
    "failed",
    "suite",
    "duration",
    "lib",
    "utils",
    "node_modules",
    "react",
    "dom",
    "server",
    "client",
    "bundle",
    "hash",
    "version",
    "installing",
    "package",
    "lockfile",
    "up",
    "to",
    "date",
]

LONE_LINES = """\
import time
for _ in range(50):
    print("stamp", time.time(), flush=True)
    time.sleep(0.1)
"""
CROWD = """\
import time
begin = time.time()
for step in range(500):
    print("stamp", time.time())
    print("\\n".join(f"line {number} of a build that prints a lot" for number in range(199)), flush=True)
    time.sleep(max(0, begin + (step + 1) * 0.02 - time.time()))
"""


def measure() -> list[Figure]:
    """Storing, reading and following logs."""
    with running_node() as node:
        text = node.folder / "log.txt"
        make_text(text)
        figures, build_uuid = _store(node, text)
        figures += _read(node, build_uuid, text.stat().st_size)
        figures += _follow(node)
        return figures


def make_text(path: Path) -> None:
    """A million lines of 100 bytes that look like real build logs."""
    rng = random.Random(7)  # noqa: S311  (repeatable, not secret)
    with path.open("w") as file:
        for number in range(LINES):
            line = f"[{number // 1000:06}] {rng.randrange(1 << 32):08x} " + " ".join(rng.choices(WORDS, k=14))
            file.write(line[:99].ljust(99) + "\n")


def _store(node: Node, text: Path) -> tuple[list[Figure], str]:
    trigger = node.trigger("big", build=f"cat {text}")
    wait_until_idle(node.server)
    node.reset_peak_memory()
    watch = RunnerWatch()
    build = build_now(node.server, trigger)
    wait_until_idle(node.server)
    runner_peak = watch.stop()
    build = get_build(node.server, build["build_uuid"])
    seconds = _moment(build["stopped_on"]) - _moment(build["running_on"])
    raw, compressed = _zstd(text, node.folder / "raw.zst")
    stored = sum(
        path.stat().st_size
        for path in (node.folder / "data" / "logs").rglob("*")
        if build["build_uuid"] in str(path) and path.is_file()
    )
    return [
        Figure(
            name="1,000,000 lines of 100 bytes, first line → log sealed",
            value=seconds,
            unit="s",
            target=3 * raw,
            baseline=raw,
            baseline_name="`cat | zstd -3 > file`",
        ),
        Figure(name="… Kedge's peak memory", value=node.peak_memory(), unit="MiB", target=150),
        Figure(name="… the runner's peak memory", value=runner_peak, unit="MiB", target=60),
        Figure(
            name="… size on disk",
            value=stored / 1e6,
            unit="MB",
            target=1.1 * compressed / 1e6,
            baseline=compressed / 1e6,
            baseline_name="`zstd -3`",
        ),
    ], build["build_uuid"]


class RunnerWatch:
    """Watches the peak memory of all runners."""

    def __init__(self) -> None:
        self._peak = 0.0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def stop(self) -> float:
        """The peak in MiB."""
        self._end.set()
        self._thread.join()
        return self._peak

    def _watch(self) -> None:
        while not self._end.wait(0.02):
            self._peak = max([self._peak, *(memory(pid, "VmHWM") for pid in _runners())])


def _runners() -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                name = (entry / "comm").read_text()
            except OSError:
                continue
            if name.startswith("kedge-runner"):
                found.append(int(entry.name))
    return found


def _zstd(text: Path, target: Path) -> tuple[float, int]:
    times = []
    for _ in range(5):
        began = time.perf_counter()
        with target.open("wb") as file:
            cat = subprocess.Popen(["cat", str(text)], stdout=subprocess.PIPE)
            subprocess.run(["zstd", "-3", "-q", "-c"], stdin=cat.stdout, stdout=file, check=True)
            cat.wait()
        times.append(time.perf_counter() - began)
    return p50(times), target.stat().st_size


def _moment(iso: str) -> float:
    return datetime.fromisoformat(iso).timestamp()


def _read(node: Node, build_uuid: str, size: int) -> list[Figure]:
    path = f"{urlsplit(node.server.base).path}/builds/builds/{build_uuid}/logs"
    rates, firsts, tails = [], [], []
    for _ in range(5):
        began = time.perf_counter()
        first, length = _download(node, f"{path}?format=text")
        rates.append(length / (time.perf_counter() - began) / 1e6)
        firsts.append(first * 1000)
        assert length >= size, "the log came back shorter than it was written"
    for _ in range(20):
        began = time.perf_counter()
        _download(node, f"{path}?tail=100")
        tails.append((time.perf_counter() - began) * 1000)
    unpack = _unpack_rate(node.folder / "raw.zst", size)
    return [
        Figure(
            name="whole log as text over HTTP",
            value=p50(rates),
            unit="MB/s",
            target=500,
            at_least=True,
            baseline=unpack,
            baseline_name="`zstd -dc | cat`",
        ),
        Figure(name="… first byte", value=p50(firsts), unit="ms", target=5),
        Figure(name="last 100 lines of it", value=p50(tails), unit="ms", target=5),
    ]


def _download(node: Node, path: str) -> tuple[float, int]:
    address = urlsplit(node.server.url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port)
    began = time.perf_counter()
    connection.request("GET", path, headers={"Authorization": f"Bearer {node.server.token}"})
    response = connection.getresponse()
    buffer = memoryview(bytearray(1 << 20))
    length = response.readinto(buffer[:1])
    first = time.perf_counter() - began
    while count := response.readinto(buffer):
        length += count
    connection.close()
    return first, length


def _unpack_rate(packed: Path, size: int) -> float:
    began = time.perf_counter()
    unpack = subprocess.Popen(["zstd", "-dc", "-q", str(packed)], stdout=subprocess.PIPE)
    subprocess.run(["cat"], stdin=unpack.stdout, stdout=subprocess.DEVNULL, check=True)
    unpack.wait()
    return size / (time.perf_counter() - began) / 1e6


def _follow(node: Node) -> list[Figure]:
    lone = node.folder / "lone.py"
    lone.write_text(LONE_LINES)
    crowd = node.folder / "crowd.py"
    crowd.write_text(CROWD)
    alone = _delays(node, "lone", f"python3 -u {lone}", 1)
    watched = _delays(node, "crowd", f"python3 {crowd}", FOLLOWERS)
    return [
        Figure(name="a lone line → a live follower, p95", value=p95(alone), unit="ms", target=20),
        Figure(
            name=f"{FOLLOWERS} followers of a build that prints 10,000 lines/s, p95",
            value=p95(watched),
            unit="ms",
            target=100,
        ),
    ]


def _delays(node: Node, name: str, command: str, followers: int) -> list[float]:
    trigger = node.trigger(name, build="true")
    node.server.patch(f"/builds/triggers/{trigger}", {"build_command": command})
    build = build_now(node.server, trigger)
    delays = asyncio.run(Stamps("stamp").delays(node.server, build["build_uuid"], followers))
    assert delays, "no stamped line arrived"
    return delays
