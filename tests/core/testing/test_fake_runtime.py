"""The steerable runtime keeps the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kedge.testing.fake_host import FakeHost
from kedge.testing.fake_runtime import FakeRuntime, FakeRuntimeSettings
from kedge.testing.runtime import RuntimeSuite

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class TestFakeRuntime(RuntimeSuite):
    sees_processes = False

    @pytest.fixture
    def make_runtime(self, tmp_path: Path) -> Callable[[], FakeRuntime]:
        return lambda: FakeRuntime(FakeRuntimeSettings(), FakeHost(data_dir=tmp_path))

    @pytest.fixture
    def running(self, tmp_path: Path) -> Callable[[], int]:
        return lambda: len(FakeRuntime(FakeRuntimeSettings(), FakeHost(data_dir=tmp_path)).running)
