"""Nodes that are asked to be ready for a deployment, and what becomes of it if they do not answer."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import orjson
import pytest
from tests.core.workers.test_places import KEY, Node, listening, placing_of, running, until

from kedge.errors import InstanceFailed
from kedge.placement.cluster_key import FORWARD, WrongMoment
from kedge.testing.delay_proxy import DelayProxy
from kedge.workers.places.exchange import signed_target
from kedge.workers.warm_up import WARM, Change, WarmUp

NOTHING = Change(wanted={}, before=set(), from_files=False)
FAILURE = {"reason": "an instance of hello exited with code 1", "probes": ["GET /: no answer"], "tail": "oh"}


class Warming(Node):
    """Measures as any node, and takes its time to warm."""

    def __init__(self, *answers: Any) -> None:
        super().__init__({})
        self.answers = list(answers)
        self.questions: list[Any] = []
        self.asked = asyncio.Event()
        self.is_warm = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
                body = await reader.readexactly(int(fields[b"content-length"]))
                path = head.split(b" ")[1]
                try:
                    KEY.verify(fields[FORWARD], "POST", fields[b"host"], signed_target(body, path))
                except WrongMoment as error:
                    refused = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nkedge-moment: %b\r\n\r\n"
                    writer.write(refused % error.moment)
                    continue
                answer = orjson.dumps(await self.tell(path, body))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def tell(self, path: bytes, body: bytes) -> Any:
        if path != WARM:
            return self.answer(body, time.perf_counter())
        self.questions.append(orjson.loads(body))
        self.asked.set()
        await self.is_warm.wait()
        return self.answers.pop(0)


async def warmed(node: Warming, address: str, during: Any) -> None:
    """Have everything warm, while `during` goes on."""
    placing, exchange = placing_of(Node({}), address)
    nobody: Any = None
    warm_up = WarmUp(nobody, nobody, exchange, node="s1")
    try:
        async with running(placing.run()), asyncio.timeout(60):
            await until(lambda: bool(exchange.presence.there))
            everywhere = asyncio.create_task(warm_up.everywhere(NOTHING, "a deployment"))
            await node.asked.wait()
            assert not everywhere.done()
            await during()
            await everywhere
    finally:
        node.is_warm.set()
        exchange.close()
        await asyncio.sleep(0)


async def test_a_deployment_waits_for_every_node_and_sees_whether_anything_was_started_meanwhile() -> None:
    node = Warming({"started": True, "failure": None}, {"started": False, "failure": None})

    async def during() -> None:
        node.is_warm.set()

    async with listening(node) as address:
        await warmed(node, address, during)
    asked = [(question["deployment"], question["again"]) for question in node.questions]
    assert asked == [("a deployment", False), ("a deployment", True)]


async def test_a_node_that_does_not_start_it_is_named() -> None:
    node = Warming({"started": True, "failure": FAILURE})

    async def during() -> None:
        node.is_warm.set()

    async with listening(node) as address:
        with pytest.raises(
            InstanceFailed, match="at node f1 an instance of hello exited with code 1"
        ) as caught:
            await warmed(node, address, during)
    assert (list(caught.value.probes), caught.value.tail) == (FAILURE["probes"], FAILURE["tail"])


@pytest.mark.parametrize("how", ["cut", "hush"])
async def test_a_deployment_does_not_wait_for_a_node_that_is_gone_or_has_fallen_silent(how: str) -> None:
    node = Warming({"started": True, "failure": None})
    async with listening(node) as direct, DelayProxy(direct, delay=0.0) as link:

        async def during() -> None:
            getattr(link, how)()

        await warmed(node, link.address, during)
        assert len(node.questions) == 1
