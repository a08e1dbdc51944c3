"""Gzip from standard input to standard output, for machines without `zstd`."""

from __future__ import annotations

import os
import sys
import zlib

from kedge_runner.pipes import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

LEVEL = 1
GZIP = 31
READ_BYTES = 256 * 1024
#: so much comes out at once, however well it was compressed
EXPANDED_BYTES = 1024 * 1024


def main() -> None:
    """`compress` or `expand`, by the first argument; ends with an error for what is no gzip."""
    for data in _compress() if sys.argv[1] == "compress" else _expand():
        write_all(1, data)


def _blocks() -> Iterator[bytes]:
    while data := os.read(0, READ_BYTES):
        yield data


def _compress() -> Iterator[bytes]:
    packer = zlib.compressobj(LEVEL, wbits=GZIP)
    for data in _blocks():
        yield packer.compress(data)
    yield packer.flush()


def _expand() -> Iterator[bytes]:
    expander = zlib.decompressobj(wbits=GZIP)
    for block in _blocks():
        data = block
        while data:
            yield expander.decompress(data, EXPANDED_BYTES)
            data = expander.unconsumed_tail
    yield expander.flush()
    if not expander.eof or expander.unused_data:
        sys.exit("it is no gzip, or not all of it")
