"""The process backend keeps the contract of compute, with runners that wait and without."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kedge.testing.compute import ComputeSuite
from kedge.testing.fake_host import FakeHost
from kedge_process.compute import ProcessCompute
from kedge_process.settings import ProcessSettings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kedge import Compute


class ProcessSuite(ComputeSuite):
    """The backend has no walls, and so refuses builds that are not trusted."""

    trusted = True


class TestWarm(ProcessSuite):
    @pytest.fixture
    def make_compute(self, tmp_path: Path) -> Callable[[], Compute]:
        return lambda: ProcessCompute(ProcessSettings(), FakeHost(tmp_path))


class TestCold(ProcessSuite):
    @pytest.fixture
    def make_compute(self, tmp_path: Path) -> Callable[[], Compute]:
        return lambda: ProcessCompute(ProcessSettings(warm=0), FakeHost(tmp_path))


class TestLimited(ProcessSuite):
    @pytest.fixture
    def make_compute(self, tmp_path: Path) -> Callable[[], Compute]:
        settings = ProcessSettings.model_validate({"memory": "1 GiB", "processes": 100, "cpu": 1.5})
        return lambda: ProcessCompute(settings, FakeHost(tmp_path))
