"""A throwaway Ceph with an S3 gateway, for tests of what speaks S3.

One Ceph serves all processes that ask for it by the same folder. A keeper process starts it and ends it
once the last of them has let go or died: each holds one end of a pipe that the keeper listens to.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import select
import shutil
import socket
import subprocess
import sys
import time
from base64 import b64encode
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, NoReturn
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROGRAMS = ("ceph", "ceph-authtool", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin")
#: Debian packages that bring them
PACKAGES = ("radosgw", "ceph-mon", "ceph-osd")
START_SECONDS = 60
MOST_BYTES = 12 * 1024**3
#: a key that the gateway may encrypt with
KMS_KEY = "kedge-test"

CONFIG = """\
[global]
fsid = {fsid}
keyring = {folder}/keyring
mon initial members = a
mon host = v2:127.0.0.1:{mon_port}
public network = 127.0.0.0/8
ms bind ipv6 = false
ms bind msgr1 = false
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
auth allow insecure global id reclaim = false
mon allow pool size one = true
mon max pg per osd = 1000
mon osd initial require min compat client = nautilus
mon data avail crit = 1
mon data avail warn = 1
# a lone monitor need not wait for others: without it the start takes ten seconds longer
paxos propose interval = 0.05
mon tick interval = 1
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
admin socket = {folder}/$name.asok
log file = {folder}/$name.log
run dir = {folder}
[mon.a]
mon data = {folder}/mon
[osd.0]
osd data = {folder}/osd
keyring = {folder}/osd/keyring
osd objectstore = memstore
memstore device bytes = {most_bytes}
osd class load list = *
[client]
rgw data = {folder}
# Nagle's algorithm costs every small answer 40 ms
rgw frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1
rgw dns name = localhost
rgw crypt require ssl = false
rgw crypt s3 kms backend = testing
rgw crypt s3 kms encryption keys = {kms_key}={kms_secret}
rgw run sync thread = false
rgw enable usage log = false
# what was deleted gives its memory back soon; a day of a lifecycle rule is ten seconds
rgw gc obj min wait = 5
rgw gc processor period = 5
rgw gc processor max time = 5
rgw lc debug interval = 10
"""


@dataclass(frozen=True, kw_only=True)
class Gateway:
    """Where a Ceph listens and how to sign. A second user owns nothing of the first one's."""

    port: int
    access_key: str = field(default_factory=lambda: secrets.token_hex(10).upper())
    secret_key: str = field(default_factory=lambda: secrets.token_hex(20), repr=False)
    stranger_key: str = field(default_factory=lambda: secrets.token_hex(10).upper())

    @property
    def endpoint(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self.port}"


def what_is_missing() -> str | None:
    """Why no Ceph can be started here, or `None`."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    return f"{', '.join(missing)} not found; install {' '.join(PACKAGES)}" if missing else None


@contextmanager
def gateway(folder: Path) -> Iterator[Gateway]:
    """The Ceph of `folder`, which has a short path; it runs at least until this ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found, hold = _find(folder) or _start_keeper(folder)
    try:
        yield found
    finally:
        os.close(hold)


def _find(folder: Path) -> tuple[Gateway, int] | None:
    """The Ceph that runs already, and a hold on it."""
    try:
        hold = os.open(folder / "users", os.O_WRONLY | os.O_NONBLOCK)
    except OSError:  # no pipe, or nobody who listens to it
        return None
    return Gateway(**json.loads((folder / "gateway.json").read_text())), hold


def _start_keeper(folder: Path) -> tuple[Gateway, int]:
    with (folder / "keeper.log").open("w") as errors:
        keeper = subprocess.Popen(
            [sys.executable, "-m", __name__, str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
    assert keeper.stdout is not None
    with keeper.stdout as said:
        ready = said.readline()
    # The keeper outlives whoever started it: it is no child to wait for.
    keeper.returncode = 0
    found = _find(folder) if ready else None
    if found is None:
        raise RuntimeError(f"Ceph did not start: {(folder / 'keeper.log').read_text()[-2000:]}")
    return found


class Ceph:
    """A monitor, a store in memory and an S3 gateway, all below one folder and on loopback."""

    def __init__(self, folder: Path) -> None:
        """Nothing runs yet."""
        self.gateway = Gateway(port=_free_port())
        self._folder = folder
        self._config = folder / "ceph.conf"
        self._daemons: list[subprocess.Popen[bytes]] = []
        self._errors: IO[bytes] = (folder / "errors.log").open("ab")

    def start(self) -> None:
        """Return once it answers. Raises `RuntimeError` or `CalledProcessError`."""
        for name in ("mon", "osd"):
            (self._folder / name).mkdir()
        config = CONFIG.format(
            fsid=uuid4(),
            folder=self._folder,
            mon_port=_free_port(),
            port=self.gateway.port,
            kms_key=KMS_KEY,
            kms_secret=b64encode(secrets.token_bytes(32)).decode(),
            most_bytes=MOST_BYTES,
        )
        self._config.write_text(config)
        self._start_monitor()
        self._start_store()
        self._make_user("owner", self.gateway.access_key)
        self._make_user("stranger", self.gateway.stranger_key)
        self._spawn("radosgw", "-n", "client.admin")
        _wait_for(lambda: _answers(self.gateway.port), "the gateway")

    def stop(self) -> None:
        """End every daemon; none has anything to save."""
        for daemon in reversed(self._daemons):
            daemon.kill()  # a gateway whose monitor is gone would not heed SIGTERM
            daemon.wait()
        self._errors.close()

    def _start_monitor(self) -> None:
        keyring, monmap = str(self._folder / "keyring"), str(self._folder / "monmap")
        allow = [part for who in ("mon", "osd", "mgr") for part in ("--cap", who, "allow *")]
        self._run("ceph-authtool", "--create-keyring", keyring, "--gen-key", "-n", "client.admin", *allow)
        self._run("ceph-authtool", keyring, "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
        address = next(line for line in self._config.read_text().splitlines() if "mon host" in line)
        fsid = next(line for line in self._config.read_text().splitlines() if "fsid" in line)
        self._run(
            *("monmaptool", "--create", "--fsid", fsid.rpartition(" ")[2]),
            *("--addv", "a", f"[{address.rpartition(' ')[2]}]", monmap),
        )
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap)
        self._spawn("ceph-mon", "-i", "a")

    def _start_store(self) -> None:
        uuid, keyring = str(uuid4()), str(self._folder / "osd" / "keyring")
        key = self._run("ceph-authtool", "--gen-print-key").strip()
        self._run("ceph", "osd", "new", uuid, "0", "-i", "-", given=json.dumps({"cephx_secret": key}))
        self._run("ceph-authtool", "--create-keyring", keyring, "-n", "osd.0", "--add-key", key)
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", uuid)
        self._spawn("ceph-osd", "-i", "0")
        _wait_for(lambda: " 1 up" in self._run("ceph", "osd", "stat"), "the store")

    def _make_user(self, name: str, access_key: str) -> None:
        keys = ["--access-key", access_key, "--secret-key", self.gateway.secret_key]
        user = ["--uid", name, "--display-name", name]
        self._run("radosgw-admin", "user", "create", *user, *keys, "--rgw-run-sync-thread=false")

    def _run(self, program: str, *arguments: str, given: str | None = None) -> str:
        # monmaptool and ceph-authtool read no configuration and do without it.
        config = [] if program in {"monmaptool", "ceph-authtool"} else ["-c", str(self._config)]
        return subprocess.run(
            [program, *config, *arguments],
            input=given,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            timeout=START_SECONDS,
            check=True,
            text=True,
        ).stdout

    def _spawn(self, program: str, *arguments: str) -> None:
        self._daemons.append(
            subprocess.Popen(
                [program, "-c", str(self._config), "-f", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=self._errors,
                stderr=self._errors,
            )
        )


def _keep(folder: Path) -> None:
    """Run a Ceph until nobody holds the other end of the pipe."""
    _clear(folder)
    os.mkfifo(folder / "users", 0o600)
    users = os.open(folder / "users", os.O_RDONLY | os.O_NONBLOCK)
    ceph = Ceph(folder)
    try:
        ceph.start()
        (folder / "gateway.json").touch(mode=0o600)
        (folder / "gateway.json").write_text(json.dumps(asdict(ceph.gateway)))
        print("ready", flush=True)  # noqa: T201  (whoever started this waits for the line)
        with _unused(folder, users):
            ceph.stop()
            _clear(folder)
    except BaseException:
        ceph.stop()
        raise


@contextmanager
def _unused(folder: Path, users: int) -> Iterator[None]:
    """Wait until nobody holds the pipe, and keep everybody out from then on."""
    poll = select.poll()
    poll.register(users, select.POLLHUP)
    poll.poll(START_SECONDS * 1000)
    while True:
        while not _is_unused(users):
            poll.poll()
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if _is_unused(users):
                os.close(users)
                yield
                return


def _is_unused(users: int) -> bool:
    try:
        return os.read(users, 1) == b""
    except BlockingIOError:
        return False


def _clear(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name not in {"lock", "keeper.log"}:
            entry.unlink()


def _wait_for(done: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + START_SECONDS
    while not done():
        if time.monotonic() > end:
            raise RuntimeError(f"{what} does not answer")
        time.sleep(0.05)  # daemons of others have no event to wait for


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def main() -> NoReturn:
    """The keeper: `python -m kedge.testing.ceph FOLDER`."""
    _keep(Path(sys.argv[1]))
    sys.exit()


if __name__ == "__main__":
    main()
