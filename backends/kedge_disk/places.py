"""What a folder of blobs must be like: no links in it, and no two spellings of one name."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from uuid import uuid4

from kedge import StoreRefused

if TYPE_CHECKING:
    from pathlib import Path


def refuse_folded_case(folder: Path) -> None:
    """Raise `StoreRefused` where `a` and `A` are one file: keys tell them apart. May raise `OSError`."""
    name = f"case-{uuid4().hex}"
    (folder / name).touch(exist_ok=False)
    try:
        if os.path.lexists(folder / name.upper()):
            raise StoreRefused(
                f"{folder}: this file system does not tell capitals from small letters, as blobs need it: "
                "keep them on another one"
            )
    finally:
        (folder / name).unlink()


def leads_elsewhere(root: Path, folder: Path) -> bool:
    """Whether a link lies on the way from `root`, which is free of them, to a folder that need not exist."""
    return os.path.realpath(folder) != str(folder) and folder != root
