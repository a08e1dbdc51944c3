from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import httpx
import pytest

from kedge.cli.workers import create_worker
from kedge.testing.node import latest_build

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kedge.testing.node import Repository, RunningNode

LINES = [f"line {number:05}" for number in range(30_000)]
BUILD = "python3 -c \"for n in range(30000): print(f'line {n:05}')\""


@pytest.fixture
def client(node: RunningNode, repository: Repository) -> Iterator[httpx.Client]:
    create_worker(node.server, "app", build=BUILD, deploy="", root="/", branch="main", previews=False)
    node.push(repository, "app")
    uuid = latest_build(node.server)["build_uuid"]
    with httpx.Client(
        base_url=f"{node.server.base}/builds/builds/{uuid}/",
        headers={"Authorization": f"Bearer {node.server.token}"},
        trust_env=False,
    ) as client:
        yield client


def printed(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("line ")]


def test_one_address_serves_pages_text_ranges_tail_and_stream(client: httpx.Client) -> None:
    whole = client.get("logs?format=text")
    assert printed(whole.text) == LINES
    assert whole.headers["content-type"] == "text/plain; charset=utf-8"
    assert whole.headers["x-content-type-options"] == "nosniff"

    part = client.get("logs?format=text", headers={"Range": "bytes=1000-1999"})
    assert part.status_code == 206
    assert part.content == whole.content[1000:2000]
    assert client.get("logs?format=text", headers={"Range": "bytes=99999999-"}).status_code == 416

    lines: list[str] = []
    cursor = None
    while True:
        page = client.get("logs", params={"cursor": cursor} if cursor else {}).json()["result"]
        lines += [text for _, text in page["lines"]]
        cursor = page["cursor"]
        if not page["truncated"]:
            break
    assert printed("\n".join(lines)) == LINES

    tail = client.get("logs?tail=100").json()["result"]["lines"]
    assert len(tail) == 100
    assert tail[-1][1] == "Success: Build command completed"

    streamed = ""
    last_id = ""
    with client.stream("GET", "logs", headers={"Accept": "text/event-stream"}) as stream:
        events = stream.read().decode().split("\n\n")
    for event in events:
        fields = dict(line.split(": ", 1) for line in event.splitlines() if ": " in line)
        if fields.get("event") == "log":
            streamed += httpx.Response(200, content=fields["data"]).json()["text"]
            last_id = fields["id"]
    assert printed(streamed) == LINES
    assert events[-2].startswith("event: end")

    resumed = client.get("logs", headers={"Accept": "text/event-stream", "Last-Event-ID": last_id}).text
    assert "event: log" not in resumed
    assert client.get("logs?cursor=nonsense").status_code == 400


def test_the_sealed_log_is_a_file_that_any_zstd_reads(node: RunningNode, client: httpx.Client) -> None:
    (sealed,) = (node.data_dir / "logs").rglob("*.zst")
    unpacked = subprocess.run(["zstd", "-dc", str(sealed)], capture_output=True, check=True).stdout

    assert unpacked == client.get("logs?format=text").content
    assert not list((node.data_dir / "logs" / "hot").iterdir())
