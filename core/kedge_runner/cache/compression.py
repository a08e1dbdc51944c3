"""Compression as a process with a pipe on either side: `zstd` where it is, else gzip by Python itself."""

from __future__ import annotations

import os
import sys
from typing import IO, Self, cast

from kedge_runner.cache.errors import CacheFailed
from kedge_runner.pipes import enlarge
from kedge_runner.processes import find_program

ZSTD, GZIP = "zstd", "gzip"
#: the fastest of the levels that still take most of the air out of text
LEVEL = "-1"
PATH = "/usr/local/bin:/usr/bin:/bin"
GZIP_BOOT = """import sys
sys.path.insert(0, sys.argv.pop(1))
from kedge_runner.cache.gzip_pipe import main
main()"""


def available() -> str:
    """The better one that this machine has."""
    return ZSTD if _zstd() else GZIP


def compress() -> Process:
    """Start compressing what is written to it."""
    program = _zstd()
    argv = [program, "-q", "-c", "-T0", LEVEL] if program else [*_python(), "compress"]
    return Process(argv)


def decompress() -> Process:
    """Start expanding what is written to it."""
    program = _zstd()
    argv = [program, "-q", "-c", "-d", "-M256MiB"] if program else [*_python(), "expand"]
    return Process(argv)


class Process:
    """Ended when it is left, whatever happened."""

    def __init__(self, argv: list[str]) -> None:
        """Start it. Raises `OSError`."""
        # who only asks what is available need not wait for it
        import subprocess

        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
        )
        self._input: IO[bytes] = cast("IO[bytes]", self._process.stdin)
        self._output: IO[bytes] = cast("IO[bytes]", self._process.stdout)
        enlarge(self.input)
        enlarge(self.output)

    @property
    def input(self) -> int:
        """Write here."""
        return self._input.fileno()

    @property
    def output(self) -> int:
        """Read here."""
        return self._output.fileno()

    def __enter__(self) -> Self:
        """Nothing more to do."""
        return self

    def end_input(self) -> None:
        """There is no more to come."""
        self._input.close()

    def finish(self) -> None:
        """Wait for its end. Raises `CacheFailed` if it failed."""
        self._input.close()
        if self._process.wait() != 0:
            raise CacheFailed("its compression is damaged, or the disk is full")

    def kill(self) -> None:
        """End it now; whoever reads from it or writes to it comes to an end too."""
        self._process.kill()

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._process.kill()
        self._input.close()
        self._output.close()
        self._process.wait()


def _zstd() -> str | None:
    return find_program("zstd", os.environ.get("PATH") or PATH)


def _python() -> list[str]:
    source = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return [sys.executable, "-I", "-S", "-c", GZIP_BOOT, source]
