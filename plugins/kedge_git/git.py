"""Git's own programs, asked for small answers."""

from __future__ import annotations

import asyncio
import os
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from kedge import PluginError
from kedge_git.child import running
from kedge_git.environment import environment

if TYPE_CHECKING:
    from kedge_git.layout import Layout

_PATIENCE = 60.0


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a command printed; `code` is None if it was stopped because it printed more than asked for."""

    code: int | None
    output: bytes
    complaint: str = ""


@dataclass(frozen=True, kw_only=True)
class Git:
    """Runs git commands in the repositories of a layout."""

    layout: Layout

    async def ask(
        self, path: Path, *argv: str, stdin: bytes = b"", limit: int = 1 << 20, patience: float = _PATIENCE
    ) -> Answer:
        """Run a command in the repository at `path` and return up to about `limit` bytes of its output.

        Raises `TimeoutError` if that takes longer than `patience` seconds.
        """
        env = environment(self.layout, GIT_DIR=str(path))
        async with (
            asyncio.timeout(patience),
            running(["git", *argv], env=env, cwd=self.layout.root) as child,
        ):
            await child.write(stdin)
            child.close_stdin()
            parts: list[bytes] = []
            size = 0
            while size < limit:
                data = await child.read()
                if not data:
                    return Answer(
                        code=await child.wait(), output=b"".join(parts), complaint=child.complaint()
                    )
                parts.append(data)
                size += len(data)
            return Answer(code=None, output=b"".join(parts))


@cache
def http_backend() -> Path:
    """Git's own server program. Raises `PluginError` where it is not installed."""
    try:
        found = subprocess.run(["git", "--exec-path"], check=True, capture_output=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise PluginError("git is missing; install it so that Kedge can host repositories") from error
    path = Path(os.fsdecode(found.strip()), "git-http-backend")
    if not path.exists():
        raise PluginError(f"{path} is missing; install git with its HTTP server (often in `git-daemon`)")
    return path
