"""The event hook."""

from __future__ import annotations

from datetime import UTC, datetime

from kedge import BuildEvent
from structlog.testing import capture_logs

import kedge_hello


def test_it_says_hello_when_a_build_is_over() -> None:
    build = BuildEvent(
        build_uuid="0b5e",
        attempt=1,
        account="default",
        worker="shop",
        branch="main",
        commit_hash="c" * 40,
        status="stopped",
        outcome="success",
        created_on=datetime(2026, 1, 1, tzinfo=UTC),
    )
    with capture_logs() as logs:
        kedge_hello.kedge_build_stopped(build)
    assert logs == [
        {"event": "hello", "log_level": "info", "worker": "shop", "build": "0b5e", "outcome": "success"}
    ]
