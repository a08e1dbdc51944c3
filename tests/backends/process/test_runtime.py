"""The runtime `process` keeps the contract, and what it promises beyond."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kedge.testing.fake_host import FakeHost
from kedge.testing.runtime import RuntimeSuite
from kedge_process.runtime import ProcessRuntime
from kedge_process.runtime_settings import ProcessRuntimeSettings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class TestProcessRuntime(RuntimeSuite):
    @pytest.fixture
    def make_runtime(self, tmp_path: Path) -> Callable[[], ProcessRuntime]:
        return lambda: ProcessRuntime(ProcessRuntimeSettings(), FakeHost(data_dir=tmp_path))

    @pytest.fixture
    def running(self, tmp_path: Path) -> Callable[[], int]:
        return lambda: len(list(tmp_path.glob("instances/work/*/attempt.json")))
