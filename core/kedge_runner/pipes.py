"""Pipes between processes."""

from __future__ import annotations

import fcntl
import os

PIPE_BYTES = 1024 * 1024
F_SETPIPE_SZ = 1031


def enlarge(pipe: int) -> int:
    """Have a pipe hold a megabyte, so that its two ends change places less often; return it."""
    try:
        fcntl.fcntl(pipe, F_SETPIPE_SZ, PIPE_BYTES)
    except OSError:
        pass  # an unprivileged user may be out of pipe memory; the usual size works too
    return pipe


def write_all(target: int, data: bytes | memoryview) -> None:
    """Write all of `data`, in as many pieces as it takes. Raises `OSError`."""
    view = memoryview(data)
    while view:
        view = view[os.write(target, view) :]
