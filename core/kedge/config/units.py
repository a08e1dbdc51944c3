"""Sizes, durations and paths as people write them: `"256 MiB"`, `"20 min"`, or a bare number."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

SECONDS = {
    "ms": 0.001,
    "s": 1.0,
    "sec": 1.0,
    "second": 1.0,
    "seconds": 1.0,
    "m": 60.0,
    "min": 60.0,
    "minute": 60.0,
    "minutes": 60.0,
    "h": 3600.0,
    "hour": 3600.0,
    "hours": 3600.0,
    "d": 86400.0,
    "day": 86400.0,
    "days": 86400.0,
}
BYTES = {
    "B": 1,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}

NUMBER = r"[0-9]{1,18}(?:\.[0-9]{1,9})?"
QUANTITY = re.compile(rf"({NUMBER})\s*([A-Za-z]*)", re.ASCII)
DURATION = re.compile(rf"(?:{NUMBER}\s*[a-z]+\s*)+|{NUMBER}", re.ASCII)

NO_DURATION = 'must be seconds as a number, or a text such as "90 s", "20 min" or "1 h 30 min"'
NO_SIZE = 'must be bytes as a whole number, or a text such as "512 KiB", "256 MiB" or "10 GB"'


def parse_duration(value: Any) -> float:
    """Seconds. Raises `ValueError` with a sentence for whoever wrote it."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    text = value.strip() if isinstance(value, str) else ""
    if not DURATION.fullmatch(text):
        raise ValueError(NO_DURATION)
    total = 0.0
    for number, unit in QUANTITY.findall(text):
        if unit and unit not in SECONDS:
            raise ValueError(f"{NO_DURATION}; units are ms, s, min, h and d")
        total += float(number) * SECONDS[unit or "s"]
    return total


def parse_size(value: Any) -> int:
    """Bytes. Raises `ValueError` with a sentence for whoever wrote it."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = QUANTITY.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(NO_SIZE)
    number, unit = match.groups()
    if unit and unit not in BYTES:
        raise ValueError(f"{NO_SIZE}; units are {', '.join(BYTES)}")
    if "." in number and BYTES.get(unit, 1) == 1:
        raise ValueError(NO_SIZE)
    return int(Decimal(number) * BYTES[unit or "B"])


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError("must be an absolute path: a node may start anywhere")
    return path


#: for a settings model: a file or folder, however a node is started
AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
#: for a settings model: seconds, written as a number or as "20 min"
Duration = Annotated[float, BeforeValidator(parse_duration)]
#: for a settings model: bytes, written as a number or as "256 MiB"
Size = Annotated[int, BeforeValidator(parse_size)]
