"""`kedge doctor`: what is missing on this machine, and how to get it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from kedge.cli.options import ConfigFile, DataDir, Json
from kedge.cli.output import print_json, print_table
from kedge.client import find_server
from kedge.errors import KedgeError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kedge.config import Settings

OLDEST_GIT = (2, 30)
LEAST_FREE_BYTES = 1024**3

#: the bridges of Kedge's networks in Docker, and where configs/firewall.sh sends what comes from them
BRIDGES = ("kedge-builds", "kedge-workers")
WALL = "KEDGE-BUILDS-HOST"

#: tools that some builds call, and how to get them
BUILD_TOOLS = {
    "node": "apt-get install nodejs (for JavaScript builds)",
    "npm": "apt-get install npm (for builds with package-lock.json)",
    "pnpm": "npm install -g pnpm (for builds with pnpm-lock.yaml)",
    "yarn": "npm install -g yarn (for builds with yarn.lock)",
    "bun": "npm install -g bun (for builds with bun.lock)",
    "uv": "pip install uv (for builds with uv.lock)",
    "poetry": "pipx install poetry (for builds with poetry.lock)",
}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    what: str
    #: "ok", "missing" (Kedge does not work without) or "optional"
    state: str
    found: str
    advice: str = ""


def doctor(config: ConfigFile = None, data_dir: DataDir = None, json: Json = False) -> None:
    """Say what is missing on this machine and how to get it. Exit status 1 if Kedge cannot run."""
    findings = list(examine(config, data_dir))
    if json:
        print_json([asdict(finding) for finding in findings])
    else:
        rows = [(finding.what, finding.state, finding.found, finding.advice) for finding in findings]
        print_table(("WHAT", "STATE", "FOUND", "TO DO"), rows, empty="")
    if any(finding.state == "missing" for finding in findings):
        raise typer.Exit(1)


def examine(config: Path | None, data_dir: Path | None) -> Iterator[Finding]:
    """Look at everything Kedge needs or can use."""
    yield _finding("Python", platform.python_version(), fine=sys.version_info >= (3, 11))
    yield _system()
    yield _git()
    yield from _settings(config, data_dir)
    yield _cgroups()
    yield from _writes(data_dir)
    for tool, advice in BUILD_TOOLS.items():
        path = shutil.which(tool)
        state = "ok" if path else "optional"
        yield Finding(what=tool, state=state, found=path or "not found", advice="" if path else advice)


def _finding(what: str, found: str, *, fine: bool, advice: str = "") -> Finding:
    return Finding(what=what, state="ok" if fine else "missing", found=found, advice="" if fine else advice)


def _system() -> Finding:
    advice = "The process backend needs Linux 5.3 or newer (pidfd)."
    fine = hasattr(os, "pidfd_open") and sys.platform == "linux"
    return _finding("system", f"{platform.system()} {platform.release()}", fine=fine, advice=advice)


def _git() -> Finding:
    advice = "apt-get install git"
    if shutil.which("git") is None:
        return _finding("git", "not found", fine=False, advice=advice)
    answer = subprocess.run(["git", "--version"], capture_output=True, text=True, check=False).stdout
    version = answer.removeprefix("git version ").split()[0]
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    return _finding("git", version, fine=numbers >= OLDEST_GIT, advice="Get git 2.30 or newer.")


def _settings(config: Path | None, data_dir: Path | None) -> Iterator[Finding]:
    from kedge.config import load  # noqa: PLC0415  (slow to import, and may be what is broken)

    overrides = {} if data_dir is None else {"server": {"data_dir": data_dir}}
    try:
        settings = load(config, os.environ, overrides)
    except KedgeError as error:
        yield _finding("config", "has mistakes", fine=False, advice=str(error))
        return
    yield _finding("config", str(config or "the defaults"), fine=True)
    yield _data_dir(settings)
    yield _runner_socket(settings)
    if "docker" in {settings.compute.use, settings.runtime.use}:
        yield _firewall()


def _data_dir(settings: Settings) -> Finding:
    folder = settings.server.data_dir.absolute()
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not os.access(there, os.W_OK):
        return _finding(
            "data dir", f"{folder} is not writable", fine=False, advice="Choose another by --data-dir."
        )
    free = shutil.disk_usage(there).free
    return _finding(
        "data dir",
        f"{folder} ({free // 1024**3} GiB free)",
        fine=free >= LEAST_FREE_BYTES,
        advice="Free some space: builds and their logs need at least 1 GiB.",
    )


def _runner_socket(settings: Settings) -> Finding:
    from kedge.node.data_dir import runner_socket  # noqa: PLC0415  (as above)

    path = runner_socket(settings.server.data_dir)
    if path is not None:
        return Finding(what="runner socket", state="ok", found=str(path))
    return Finding(
        what="runner socket",
        state="optional",
        found="the data dir's path is too long for a Unix socket",
        advice="Runners use TCP instead. Choose a shorter --data-dir.",
    )


def _firewall() -> Finding:
    """Whether containers are kept from what listens on this machine, which only root may see."""
    what, seen = "firewall", os.geteuid() == 0 and shutil.which("iptables") is not None
    is_open = [bridge for bridge in BRIDGES if not (seen and _is_walled(bridge))]
    if not is_open:
        return Finding(what=what, state="ok", found=f"around {' and '.join(BRIDGES)}")
    found = f"none around {' and '.join(is_open)}" if seen else "only root can see whether there is one"
    advice = "Run configs/firewall.sh as root: else builds and workers in containers reach this machine."
    return Finding(what=what, state="optional", found=found, advice=advice)


def _is_walled(bridge: str) -> bool:
    rule = ["iptables", "-w", "5", "-C", "INPUT", "-i", bridge, "-j", WALL]
    return subprocess.run(rule, capture_output=True, check=False).returncode == 0


def _writes(data_dir: Path | None) -> Iterator[Finding]:
    """Where the Kedge that runs here, if one does, has writes of its API done."""
    try:
        server = find_server(os.environ.get("KEDGE_URL"), os.environ.get("KEDGE_TOKEN"), "default", data_dir)
        found = server.get("/workers/placement/control-plane")
    except KedgeError:
        return
    at, here, there = found["writes_go_to"], found["expected_here_ms"], found["expected_there_ms"]
    said = f"done at {at}"
    if here is not None and there is not None:
        said += f": {there:.1f} ms expected" + (f", {here:.1f} ms here" if at != found["location"] else "")
    for series in found["series"]:
        said += f"; {series['requests']} took {series['quantiles_ms']['p50']:.1f} ms at {series['location']}"
    yield Finding(what="writes of the API", state="ok", found=said)


def _cgroups() -> Finding:
    controllers = [name for name in ("memory", "pids") if _writable_controller(name)]
    found = ", ".join(controllers) or "no controller that Kedge may use"
    advice = (
        "" if controllers else "Memory and process limits of builds are off. Run as root or delegate cgroups."
    )
    return Finding(what="cgroups", state="ok" if controllers else "optional", found=found, advice=advice)


def _writable_controller(name: str) -> bool:
    root = Path("/sys/fs/cgroup")
    unified = root / "cgroup.controllers"
    if unified.exists():
        return name in unified.read_text().split() and os.access(root, os.W_OK)
    return os.access(root / name, os.W_OK)
