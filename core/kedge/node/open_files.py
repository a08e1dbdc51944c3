"""How many files this process may have open."""

from __future__ import annotations

import resource

#: of what the system allows at most; programs that are started here inherit it, and some count up to it
ENOUGH = 65_536


def allow_open_files() -> int:
    """Raise the limit to what may be had, or to what is enough; return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        return most
    return ENOUGH if soft == resource.RLIM_INFINITY else soft
