"""The same promises on other stores that speak S3, each with ways of its own."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from moto.server import ThreadedMotoServer
from tests.backends.s3.conftest import Place
from tests.backends.s3.suite import S3Suite
from tests.backends.s3.swift import running_swift

from kedge import Conflict
from kedge.testing.blobs import fetch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kedge import BlobStore

RCLONE = Path(sys.executable).parent / "rclone"
LARGE = b"\0\1\2" * 2_000_000


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A store that takes conditions and heeds none."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("rclone")
    argv = [str(RCLONE), "serve", "s3", "--addr", f"127.0.0.1:{port}", "--config", str(folder / "none")]
    server = subprocess.Popen(
        [*argv, "--auth-key", f"{'A' * 20},{'S' * 40}", "--vfs-cache-mode", "off", str(folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + 60
    while not _answers(port):
        assert server.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    server.kill()
    server.wait()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One bucket for all: to make one takes Swift longer than most tests."""
    with running_swift(tmp_path_factory.mktemp("swift")) as swift:
        yield Place(swift.endpoint, swift.access_key, swift.secret_key, tmp_path_factory.mktemp("s3"))


class TestS3OnSwift(S3Suite):
    """Of writers at the same moment several may win there: among those of one node Kedge itself chooses."""

    # a thousand blobs take Swift a minute, and keys that are refused come to no store
    test_a_long_list_misses_nothing = None  # type: ignore[assignment]
    test_a_hostile_key_is_refused = None  # type: ignore[assignment]
    test_a_hostile_key_is_not_presigned = None  # type: ignore[assignment]

    @pytest.fixture
    async def store(self, swift: Place, opened: Callable[..., Any]) -> BlobStore:
        self.chosen = {"conditional_writes": "no", "prefix": f"{uuid4()}/"}
        self.place, self.opened = swift, opened
        store: BlobStore = await opened(self.place, **self.chosen)
        return store


class TestS3OnMoto(S3Suite):
    @pytest.fixture
    async def store(self, moto: str, tmp_path: Path, opened: Callable[..., Any]) -> BlobStore:
        self.place, self.opened = Place(moto, "access", "secret", tmp_path / "s3"), opened
        store: BlobStore = await opened(self.place)
        return store


async def test_a_store_without_conditions_says_so_and_lets_one_writer_of_a_node_win(
    rclone: str, tmp_path: Path, opened: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    store = await opened(Place(rclone, "A" * 20, "S" * 40, tmp_path / "s3"))
    assert store.excludes is False
    assert "no conditional writes" in capsys.readouterr().out
    bodies = [bytes([number]) * 10 for number in range(32)]
    results = await asyncio.gather(
        *[store.put("key", body, if_absent=True) for body in bodies], return_exceptions=True
    )
    winners = [number for number, result in enumerate(results) if not isinstance(result, BaseException)]
    assert len(winners) == 1
    assert sum(isinstance(result, Conflict) for result in results) == 31
    assert await fetch(store, "key") == bodies[winners[0]]
    with pytest.raises(Conflict):
        await store.put("key", LARGE, if_absent=True)
    await store.put("large", LARGE, if_absent=True)
    assert await fetch(store, "large") == LARGE
