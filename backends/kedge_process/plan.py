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
        "quota": _default_quota(settings),
        "groups": groups,
    }


def quota_for(settings: ProcessSettings, limits: Limits) -> Quota:
    """The limits of one attempt: its own, or else those of the settings."""
    default = _default_quota(settings)
    return {
        "memory": default["memory"] if limits.memory_bytes is None else limits.memory_bytes,
        "processes": default["processes"] if limits.processes is None else limits.processes,
        "cpus": default["cpus"] if limits.cpus is None else limits.cpus,
        "open_files": default["open_files"] if limits.open_files is None else limits.open_files,
        "file_size": default["file_size"] if limits.disk_bytes is None else limits.disk_bytes,
    }


def _default_quota(settings: ProcessSettings) -> Quota:
    return {
        "memory": settings.memory,
        "processes": settings.processes,
        "cpus": settings.cpu,
        "open_files": settings.open_files,
        "file_size": settings.file_size,
    }
