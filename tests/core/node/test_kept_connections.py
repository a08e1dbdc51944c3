"""A connection that a visitor keeps shows him what is deployed now, not what was when he came."""

from __future__ import annotations

import os
import signal
import time
from http.client import HTTPConnection
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from tests.core.node.worker_of import HOST, command, deploy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kedge.testing.node import RunningNode

PATIENCE = 60.0


class Visitor:
    """Asks on one connection alone."""

    def __init__(self, node: RunningNode) -> None:
        parts = urlsplit(node.server.url)
        self._connection = HTTPConnection(str(parts.hostname), parts.port, timeout=PATIENCE)
        self._connection.connect()
        self._socket = self._connection.sock

    def ask(self, path: str = "/") -> tuple[int, str]:
        self._connection.request("GET", path, headers=HOST)
        answer = self._connection.getresponse()
        body = answer.read().decode()
        assert self._connection.sock is self._socket, "the connection was not kept"
        return answer.status, body

    def version(self) -> str:
        status, body = self.ask()
        assert status == 200, body
        return body.split(" ")[0]

    def until(self, is_so: Callable[[str], bool]) -> str:
        end = time.monotonic() + PATIENCE
        while True:
            status, body = self.ask()
            if status == 200 and is_so(body):
                return body
            assert time.monotonic() < end, (status, body)

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def visitor(node: RunningNode, tmp_path: Path) -> Iterator[Visitor]:
    node.server.post("/workers/workers", {"name": "hello"})
    deploy(node, tmp_path, "one")
    made = Visitor(node)
    # from the second request on an instance and a connection to it are at hand
    assert [made.version(), made.version()] == ["one", "one"]
    yield made
    made.close()


def test_the_next_request_gets_what_has_been_deployed_meanwhile(
    visitor: Visitor, node: RunningNode, tmp_path: Path
) -> None:
    deploy(node, tmp_path, "two")
    assert [visitor.version(), visitor.version()] == ["two", "two"]

    command(node, "rollback", "hello")
    visitor.until(lambda body: body.startswith("one "))
    assert visitor.version() == "one"


def test_the_next_version_has_the_secrets_and_an_earlier_one_those_that_it_had(
    visitor: Visitor, node: RunningNode, tmp_path: Path
) -> None:
    command(node, "secret", "put", "hello", "SECRET", given="first")
    assert visitor.ask()[1].endswith(" ")
    deploy(node, tmp_path, "two")
    assert visitor.ask()[1].endswith(" first")
    command(node, "secret", "put", "hello", "SECRET", given="second")
    deploy(node, tmp_path, "three")
    assert visitor.ask()[1].endswith(" second")

    command(node, "rollback", "hello")
    assert visitor.until(lambda body: body.startswith("two ")).endswith(" first")


def test_a_worker_that_has_been_removed_is_not_found_with_the_next_request(
    visitor: Visitor, node: RunningNode
) -> None:
    node.server.delete("/workers/workers/hello")
    status, body = visitor.ask()
    assert (status, body.splitlines()[0]) == (404, "Nothing is deployed at hello.")


def test_an_instance_that_was_killed_is_replaced_for_connections_that_were_open(visitor: Visitor) -> None:
    before = visitor.ask()[1].split(" ")[1]
    os.kill(int(before), signal.SIGKILL)
    assert visitor.until(lambda body: body.startswith("one ")).split(" ")[1] != before
