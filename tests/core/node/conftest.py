"""Nodes for tests that only look from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kedge.testing.node import Repository, RunningNode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def node(tmp_path: Path) -> Iterator[RunningNode]:
    """A fresh node of the test's own."""
    running = RunningNode(tmp_path).start()
    yield running
    running.stop()


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A repository with one commit."""
    made = Repository(tmp_path / "repo")
    made.commit({"readme.txt": "hello"})
    return made
