"""From settings to what the helper processes are told."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from kedge import StartRefused
from kedge_process.guard.cgroups import find_groups, remove_empty
from kedge_process.guard.runner import INHERITED

if TYPE_CHECKING:
    from kedge import Limits
    from kedge_process.guard.messages import Plan, Quota
    from kedge_process.settings import ProcessSettings

log = structlog.get_logger("process")


@dataclass(frozen=True, kw_only=True)
class RunnerCode:
    """Where a runner's code is: `function` of `module`, found below `folder`."""

    folder: str
    module: str
    function: str = "run"
    #: whether it goes on without the Kedge that started it
    outlives_kedge: bool = True


def kedge_runner() -> RunnerCode:
    """The runner that comes with Kedge. Raises `StartRefused` if it is not installed."""
    spec = importlib.util.find_spec("kedge_runner")
    if spec is None or not spec.submodule_search_locations:
        raise StartRefused("kedge_runner is not installed beside Kedge; install the package again")
    package = Path(next(iter(spec.submodule_search_locations)))
    return RunnerCode(folder=str(package.parent), module="kedge_runner.main")


def base_environment() -> dict[str, str]:
    """What helpers may know of Kedge's own environment."""
    return {name: os.environ[name] for name in INHERITED if name in os.environ}


def make_plan(settings: ProcessSettings, runner: RunnerCode | None) -> Plan:
    """Look at the machine and decide how runners are forked. Blocks."""
    groups = find_groups()
    remove_empty(groups)
    wanted = {"memory": settings.memory, "pids": settings.processes, "cpu": settings.cpu}
    missing = sorted(name for name, limit in wanted.items() if limit is not None and name not in groups)
    if missing and settings.model_fields_set & {"memory", "processes", "cpu"}:
        log.warning("limits_not_enforced", cgroups_missing=missing)
    code = runner or kedge_runner()
    return {
        "folder": code.folder,
        "module": code.module,
        "function": code.function,
        "nice": settings.nice,
        "quota": quota_of(settings.limits),
        "groups": groups,
        "outlives_kedge": code.outlives_kedge,
    }


def quota_of(limits: Limits) -> Quota:
    """Limits as the helper processes are told them."""
    return {
        "memory": limits.memory_bytes,
        "processes": limits.processes,
        "cpus": limits.cpus,
        "open_files": limits.open_files,
        "file_size": limits.disk_bytes,
    }
