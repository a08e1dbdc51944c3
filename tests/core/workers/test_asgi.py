"""The folder of what serves ASGI applications."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from kedge.workers.asgi import ServerFolder

if TYPE_CHECKING:
    from pathlib import Path


async def test_first_starts_at_once_find_one_folder_that_is_whole(tmp_path: Path) -> None:
    folder = ServerFolder(tmp_path / "servers")

    paths = await asyncio.gather(*(folder.path() for _ in range(8)))

    assert len(set(paths)) == 1
    assert (paths[0] / "serve.py").is_file()
    assert (paths[0] / "packages" / "uvicorn" / "__init__.py").is_file()
    assert list((tmp_path / "servers").iterdir()) == [paths[0]]


async def test_a_container_that_runs_as_another_user_can_read_it_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        path = await ServerFolder(tmp_path / "servers").path()
    finally:
        os.umask(before)
    inside = [path, *path.rglob("*")]
    assert {one.stat().st_mode & 0o777 for one in inside if one.is_dir()} == {0o755}
    assert {one.stat().st_mode & 0o777 for one in inside if one.is_file()} == {0o644}


async def test_what_an_earlier_kedge_made_is_made_anew(tmp_path: Path) -> None:
    root = tmp_path / "servers"
    (root / "asgi-of-before" / "packages").mkdir(parents=True)

    path = await ServerFolder(root).path()

    assert list(root.iterdir()) == [path]
