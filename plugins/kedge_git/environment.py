"""What git processes get to see: nothing of the node's own environment but `PATH`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kedge_git.layout import Layout

#: mistakes that old tools made and that many a history still holds
_TOLERATED = ("badTimezone", "missingSpaceBeforeDate", "zeroPaddedFilemode")


def environment(layout: Layout, config: dict[str, str] | None = None, **variables: str) -> dict[str, str]:
    """A whole environment for git: no one's configuration files, `config` and `variables` on top."""
    settings = {"core.hooksPath": str(layout.hooks), "safe.directory": "*", **(config or {})}
    fixed = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(layout.root),
        "LC_ALL": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_COUNT": str(len(settings)),
    }
    for number, (key, value) in enumerate(settings.items()):
        fixed[f"GIT_CONFIG_KEY_{number}"] = key
        fixed[f"GIT_CONFIG_VALUE_{number}"] = value
    return fixed | variables


def serving_config(max_push: int) -> dict[str, str]:
    """How repositories are served. Reflogs tell what a push changed, even after a crash."""
    return {
        "http.receivepack": "true",
        "http.uploadpack": "true",
        "http.getanyfile": "false",
        "core.logAllRefUpdates": "true",
        "receive.fsckObjects": "true",
        **{f"receive.fsck.{mistake}": "warn" for mistake in _TOLERATED},
        "receive.maxInputSize": str(max_push),
        "receive.denyDeletes": "false",
        # which is what git does anyway; said so, it gives no advice on settings that a pusher cannot reach
        "receive.denyDeleteCurrent": "refuse",
        "receive.denyNonFastForwards": "false",
        "receive.autogc": "false",
        "gc.auto": "0",
        "uploadpack.allowFilter": "true",
        "uploadpack.allowAnySHA1InWant": "true",
    }
