"""The command line as a user runs it, against a node of the test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kedge.testing.node import RunningNode


def kedge(node: RunningNode, *arguments: str, code: int = 0, environ: dict[str, str] | None = None) -> str:
    done = run(node, *arguments, environ=environ)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def run(
    node: RunningNode, *arguments: str, environ: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kedge", *arguments],
        env={**os.environ, "KEDGE_DATA_DIR": str(node.data_dir), **(environ or {})},
        capture_output=True,
        text=True,
        check=False,
    )


def kedge_json(node: RunningNode, *arguments: str, **environ: str) -> Any:
    done = run(node, *arguments, "--json", environ=environ)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)
