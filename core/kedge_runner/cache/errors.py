"""What can go wrong with a cache. None of it ends a build."""

from __future__ import annotations

import errno

from kedge_runner.errors import RunnerError


class CacheFailed(RunnerError):
    """A cache could not be restored or saved; the message says why, for the build's log."""


class NotNow(CacheFailed):
    """The store could not be asked; what it keeps may be good."""


def reason_of(error: Exception) -> str:
    """A sentence about what went wrong. It holds no URL, for some of them are secrets."""
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return "the disk is full where builds run"
    if isinstance(error, OSError):
        return f"{error.strerror or type(error).__name__}"
    return str(error) or type(error).__name__
