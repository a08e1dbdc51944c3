"""The gateway beside a bare relay and nginx: the same upstream, the same visitors, in turns."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from bench.figures import Figure
from bench.node import running_node

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.node import Node

ROUNDS = 5
SECONDS = 4
CONNECTIONS = 32
LARGE = 64 * 1024 * 1024
WORKER = "bench"
UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0}
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
BYTES = {"B": 1.0, "KB": 1e3, "MB": 1e6, "GB": 1e9}

UPSTREAM = """
user root; worker_processes 1; pid {folder}/nginx.pid; error_log stderr crit; daemon off;
events {{ worker_connections 1024; }}
http {{
    access_log off; keepalive_requests 1000000000; sendfile on;
    client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
    uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    {upstream}
    server {{ listen 127.0.0.1:{port}; {locations} }}
}}
"""
ANSWERS = 'root {folder}; location = / {{ return 200 "Hello from the upstream\\n"; }}'
PASSES_ON = (
    "location / {{ proxy_pass http://there; proxy_http_version 1.1; proxy_set_header Connection ''; "
    "proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr; "
    "proxy_set_header X-Request-Id $request_id; add_header X-Request-Id $request_id; proxy_buffering on; }}"
)


@dataclass(frozen=True)
class Load:
    """What the visitors saw."""

    requests_s: float
    p50_ms: float
    p99_ms: float
    bytes_s: float
    #: of the process that relays, its children left out
    cpu_us: float


@dataclass(frozen=True)
class Target:
    """Where a load goes, and the process that takes it."""

    url: str
    pid: int

    def cpu_seconds(self) -> float:
        """What that process has used so far, its children left out."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


def measure() -> list[Figure]:
    """Requests a second and latency of small answers, and bytes a second of large ones."""
    for program in ("wrk", "nginx"):
        if shutil.which(program) is None:
            raise SystemExit(f"{program} is not installed: apt-get install wrk nginx-light")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kb-")))
        node = stack.enter_context(running_node())
        _deploy(node, folder)
        upstream = _instance_port(node)
        bare_port, bare_pid = stack.enter_context(_bare_relay(upstream))
        nginx_port, nginx_pid = stack.enter_context(_nginx_proxy(folder, upstream))
        targets = {
            "kedge": Target(node.server.url, node.pid),
            "bare": Target(f"http://127.0.0.1:{bare_port}", bare_pid),
            "nginx": Target(f"http://127.0.0.1:{nginx_port}", nginx_pid),
            "direct": Target(f"http://127.0.0.1:{upstream}", os.getpid()),
        }
        small = _in_turns(targets, "/", CONNECTIONS)
        large = _in_turns(targets, "/large", 4)
    return _figures(small, large)


def _figures(small: dict[str, list[Load]], large: dict[str, list[Load]]) -> list[Figure]:
    def of(loads: dict[str, list[Load]], name: str, field: str) -> float:
        return float(median(getattr(load, field) for load in loads[name]))

    def beside(name: str, other: str, title: str) -> list[Figure]:
        return [
            Figure(
                name=f"{title}, small answers",
                value=of(small, name, "requests_s"),
                unit="requests/s",
                baseline=of(small, other, "requests_s"),
                baseline_name=other,
                target=0.8 * of(small, other, "requests_s") if other == "bare" else None,
                at_least=True,
            ),
            Figure(
                name=f"{title}, 64 MiB answers",
                value=of(large, name, "bytes_s") / 1e6,
                unit="MB/s",
                baseline=of(large, other, "bytes_s") / 1e6,
                baseline_name=other,
                target=0.8 * of(large, other, "bytes_s") / 1e6 if other == "bare" else None,
                at_least=True,
            ),
            Figure(
                name=f"{title}, p99 of small answers",
                value=of(small, name, "p99_ms"),
                unit="ms",
                baseline=of(small, other, "p99_ms"),
                baseline_name=other,
            ),
            *(
                [_cpu(title, of(small, name, "cpu_us"), of(small, other, "cpu_us"))]
                if other == "bare"
                else []
            ),
        ]

    return [
        *beside("kedge", "bare", "gateway beside a bare relay"),
        *beside("kedge", "nginx", "gateway beside nginx proxy_pass"),
        *beside("bare", "direct", "bare relay beside no relay"),
    ]


def _cpu(title: str, value: float, baseline: float) -> Figure:
    """A busy machine takes requests a second from all, and CPU of a request from nobody."""
    return Figure(
        name=f"{title}, CPU of a small answer",
        value=value,
        unit="µs",
        baseline=baseline,
        baseline_name="bare",
        target=baseline / 0.8,
    )


def _in_turns(targets: dict[str, Target], path: str, connections: int) -> dict[str, list[Load]]:
    for target in targets.values():
        load(target, path, connections, 1)
    loads: dict[str, list[Load]] = {name: [] for name in targets}
    for _ in range(ROUNDS):
        for name, target in targets.items():
            loads[name].append(load(target, path, connections, SECONDS))
    return loads


def load(target: Target, path: str, connections: int, seconds: int) -> Load:
    """Ask for the worker, for so many seconds over so many connections."""
    url, before = target.url + path, target.cpu_seconds()
    said = subprocess.run(
        [
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{seconds}s",
            "--latency",
            "--timeout",
            "30s",
            "-H",
            f"Host: {WORKER}.localhost",
            url,
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    if "Non-2xx" in said or "Socket errors" in said:
        raise SystemExit(f"{url} failed:\n{said}")
    return Load(
        requests_s=float(_found(r"Requests/sec:\s+([\d.]+)", said)),
        p50_ms=_scaled(_found(r"\n\s+50%\s+(\S+)", said), UNITS),
        p99_ms=_scaled(_found(r"\n\s+99%\s+(\S+)", said), UNITS),
        cpu_us=(target.cpu_seconds() - before) / int(_found(r"(\d+) requests in", said)) * 1e6,
        bytes_s=_scaled(_found(r"Transfer/sec:\s+(\S+)", said), BYTES),
    )


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match is not None, text
    return match[1]


def _scaled(value: str, units: dict[str, float]) -> float:
    match = re.fullmatch(r"([\d.]+)([A-Za-z]+)", value)
    assert match is not None, value
    return float(match[1]) * units[match[2]]


def _deploy(node: Node, folder: Path) -> None:
    project = folder / "project"
    project.mkdir()
    (project / "large").write_bytes(os.urandom(LARGE))
    (project / "nginx.conf").write_text(
        UPSTREAM.format(folder="TMP", port="PORT", upstream="", locations=ANSWERS.format(folder="FILES"))
    )
    (project / "start.sh").write_text(
        'sed -e "s#TMP#$TMPDIR#g; s#FILES#$PWD#; s#PORT#$PORT#" nginx.conf > "$TMPDIR/nginx.conf"\n'
        'exec nginx -c "$TMPDIR/nginx.conf"\n'
    )
    (project / "kedge.toml").write_text(
        '[worker]\nkind = "command"\nentry = ["sh", "start.sh"]\nmax_instances = 1\nconcurrency = 1000\n'
    )
    node.server.post("/workers/workers", {"name": WORKER})
    environment = {"KEDGE_URL": node.server.url, "KEDGE_TOKEN": node.server.token, "KEDGE_WORKER": WORKER}
    subprocess.run(
        [sys.executable, "-m", "kedge", "deploy", "."], cwd=project, env=os.environ | environment, check=True
    )


def _instance_port(node: Node) -> int:
    [instance] = node.server.get(f"/workers/workers/{WORKER}/instances")["instances"]
    return int(instance["address"].rpartition(":")[2])


@contextmanager
def _bare_relay(port: int) -> Iterator[tuple[int, int]]:
    relay = Path(__file__).with_name("bare_relay.py")
    process = subprocess.Popen([sys.executable, str(relay), str(port)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline()), process.pid
    finally:
        process.terminate()
        process.wait()


@contextmanager
def _nginx_proxy(folder: Path, upstream: int) -> Iterator[tuple[int, int]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    there = f"upstream there {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 1000000000; }}"
    config = folder / "nginx.conf"
    config.write_text(UPSTREAM.format(folder=folder, port=port, upstream=there, locations=PASSES_ON.format()))
    process = subprocess.Popen(["nginx", "-c", str(config)])
    try:
        _wait_for(port)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait()


def _wait_for(port: int) -> None:
    for _ in range(100):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)
    raise SystemExit("nginx does not start")
