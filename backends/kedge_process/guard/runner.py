"""From a bare fork to a runner at work."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from contextlib import suppress

from . import kernel
from .descriptors import keep_only
from .messages import MARKER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .messages import Order, Quota

#: when memory runs out the machine should end a build before it ends Kedge
OOM_SCORE = "500"
#: nohup ignores SIGHUP, and a script's `&` SIGINT and SIGQUIT; what runs builds uses the others
RESTORED = (
    signal.SIGCHLD,
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGHUP,
)
#: what a build may know of the node's environment
INHERITED = ("PATH", "LANG", "LC_ALL", "TZ", "USER", "LOGNAME", "SHELL", "SSL_CERT_FILE", "SSL_CERT_DIR")


def become_runner(
    run: Callable[[dict[str, Any]], int], orders: int, errors: int, *, nice: int, supervisor: int
) -> None:
    """Wait for the order on the descriptor `orders`, obey it, and end this process. Never returns."""
    code = 70
    try:
        kernel.set_name("kedge-runner")
        kernel.die_with_parent()
        if os.getppid() != supervisor:
            os._exit(0)
        # what the runner sends to its own group must not reach the supervisor
        os.setpgid(0, 0)
        keep_only(orders, stderr=errors)
        _restore_signals()
        os.nice(nice)
        with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write(OOM_SCORE)
        data = _read_all(orders)
        code = _obey(run, json.loads(data)) if data else 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException as error:  # noqa: BLE001  (a fork must not return into its parent's code)
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        with suppress(BaseException):
            sys.stderr.flush()
        os._exit(code & 0xFF)


def _restore_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in RESTORED:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _read_all(fd: int) -> bytes:
    parts = []
    while part := os.read(fd, 1 << 16):
        parts.append(part)
    os.close(fd)
    return b"".join(parts)


def _obey(run: Callable[[dict[str, Any]], int], order: Order) -> int:
    base = {name: os.environ[name] for name in INHERITED if name in os.environ}
    os.environ.clear()
    os.environ.update(base)
    os.environ[MARKER] = order["marker"]
    os.umask(0o022)
    os.chdir(order["assignment"]["workspace"])
    _set_rlimits(order["quota"])
    return run(order["assignment"])


def _set_rlimits(quota: Quota) -> None:
    limits = (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, quota["open_files"]),
        (resource.RLIMIT_FSIZE, quota["file_size"]),
    )
    for number, wanted in limits:
        if wanted is not None:
            _, hard = resource.getrlimit(number)
            most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(number, (most, most))
