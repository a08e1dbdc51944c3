"""A throwaway OpenStack Swift with one device, and its S3 API."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ACCESS_KEY, SECRET_KEY = "test:tester", "testing"
START_SECONDS = 60
#: each kind of server stands alone on its ring
RINGS = """
import json, sys
from swift.common.ring import RingBuilder
for kind, port in json.loads(sys.argv[2]).items():
    builder = RingBuilder(4, 1, 0)
    device = {"region": 1, "zone": 1, "ip": "127.0.0.1", "port": port, "device": "d1", "weight": 1.0}
    builder.add_dev({**device, "id": 0})
    builder.rebalance()
    builder.get_ring().save(f"{sys.argv[1]}/{kind}.ring.gz")
"""
#: the programs look for their configuration in /etc, unless they are told otherwise before all else
SERVER = """
import sys
from swift.common.utils import set_swift_dir
set_swift_dir(sys.argv.pop(1))
from importlib import import_module
sys.exit(import_module(sys.argv.pop(1)).main())
"""
SWIFT = """\
[swift-hash]
swift_hash_path_suffix = kedge
[storage-policy:0]
name = gold
default = yes
"""
STORAGE = """\
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = root
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
log_level = ERROR
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
allow_versions = true
"""
PROXY = """\
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = root
swift_dir = {folder}
log_level = ERROR
[pipeline:main]
pipeline = catch_errors gatekeeper cache listing_formats s3api tempauth copy slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
allow_account_management = true
account_autocreate = true
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
min_segment_size = 5242880
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{nobody}
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
"""
#: each with the package of its program
KINDS = {"account": "swift.account", "container": "swift.container", "object": "swift.obj"}
PROGRAMS = {**KINDS, "proxy": "swift.proxy"}


@dataclass(frozen=True, kw_only=True)
class Swift:
    """A Swift that answers."""

    endpoint: str
    access_key: str = ACCESS_KEY
    secret_key: str = SECRET_KEY


@contextmanager
def running_swift(folder: Path) -> Iterator[Swift]:
    """Start one in an empty folder, and end it."""
    ports = dict(zip((*PROGRAMS, "nobody"), _free_ports(5), strict=True))
    (folder / "devices" / "d1").mkdir(parents=True)
    (folder / "swift.conf").write_text(SWIFT)
    for kind in KINDS:
        config = STORAGE.format(folder=folder, port=ports[kind], kind=kind)
        (folder / f"{kind}.conf").write_text(config)
    rings = json.dumps({kind: ports[kind] for kind in KINDS})
    subprocess.run([sys.executable, "-c", RINGS, folder, rings], check=True)
    (folder / "proxy.conf").write_text(
        PROXY.format(folder=folder, port=ports["proxy"], nobody=ports["nobody"])
    )
    with ExitStack() as stack:
        for kind, package in PROGRAMS.items():
            stack.enter_context(_server(folder, kind, package))
        for kind in PROGRAMS:
            _wait_for(ports[kind])
        yield Swift(endpoint=f"http://127.0.0.1:{ports['proxy']}")


@contextmanager
def _server(folder: Path, kind: str, package: str) -> Iterator[None]:
    log = (folder / f"{kind}.log").open("w")
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(folder), f"{package}.server", str(folder / f"{kind}.conf")],
        stdout=log,
        stderr=log,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait()
        log.close()


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def _wait_for(port: int) -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if time.monotonic() > end:
            raise TimeoutError(f"nobody listens on port {port}")
        time.sleep(0.05)
