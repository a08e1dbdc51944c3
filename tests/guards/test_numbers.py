"""What is known by its number has it for itself."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from kedge.db.schema import MIGRATIONS

ROOT = Path(__file__).parents[2]
CODE = re.compile(r"^    code = (\d+)$", re.MULTILINE)


def repeated(numbers: list[str]) -> list[str]:
    return [number for number, times in Counter(numbers).items() if times > 1]


def test_no_two_errors_have_one_code() -> None:
    folders = (ROOT / name for name in ("core", "plugins", "backends"))
    codes = [
        code for folder in folders for file in folder.rglob("*.py") for code in CODE.findall(file.read_text())
    ]
    assert len(codes) > 20
    assert not repeated(codes)


def test_no_two_migrations_have_one_number() -> None:
    numbers = [file.name[:4] for file in (MIGRATIONS / "versions").glob("*.py")]
    assert numbers
    assert not repeated(numbers)
