"""The few calls of Linux that Python does not offer."""

from __future__ import annotations

import signal

try:
    import ctypes
except ImportError:  # a Python built without libffi
    ctypes = None  # type: ignore[assignment]

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36


def _prctl(option: int, argument: int | bytes) -> bool:
    if ctypes is None:
        return False
    value = ctypes.c_char_p(argument) if isinstance(argument, bytes) else ctypes.c_ulong(argument)
    return bool(ctypes.CDLL(None).prctl(option, value, 0, 0, 0) == 0)


def adopt_orphans() -> bool:
    """Become the parent of every descendant whose own parent ends. False if the machine cannot."""
    return _prctl(PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> bool:
    """Be killed as soon as the parent ends."""
    return _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def set_name(name: str) -> bool:
    """Show `name` (15 bytes of it) in process lists."""
    return _prctl(PR_SET_NAME, name.encode()[:15])
