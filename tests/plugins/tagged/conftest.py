"""A place that keeps what a logger writes."""

from __future__ import annotations

import json
from typing import Any

import pytest


class Lines:
    """A target of a logger."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    def msg(self, text: str) -> None:
        self.records.append(json.loads(text))

    @property
    def last(self) -> dict[str, Any]:
        return self.records[-1]

    @property
    def tags(self) -> dict[str, Any]:
        tags: dict[str, Any] = self.last["tags"]
        return tags


@pytest.fixture
def lines() -> Lines:
    return Lines()
