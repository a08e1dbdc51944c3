"""What serves ASGI applications: a folder that any Python can use, made of Kedge's own packages."""

from __future__ import annotations

import asyncio
import importlib.util
import shutil
from functools import cache
from pathlib import Path
from uuid import uuid4

#: copied if they are installed: what an application brings itself comes before them
PACKAGES = ("uvicorn", "click", "h11", "httptools", "wsproto", "websockets")
#: modules of a single file
MODULES = ("typing_extensions",)


class ServerFolder:
    """The folder with `serve.py` and `packages`, made when it is first asked for."""

    def __init__(self, root: Path) -> None:
        """Nothing is made yet; it will lie in `root`, which one node has for itself."""
        self._root = root
        self._making = asyncio.Lock()

    async def path(self) -> Path:
        """Where it is, absolute. Any number may ask at once. Raises `OSError`."""
        async with self._making:
            return await asyncio.to_thread(_make, self._root)


def _make(root: Path) -> Path:
    ready = (root / f"asgi-{_mark()}").absolute()
    if ready.is_dir():
        return ready
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    for old in root.glob("asgi-*"):
        shutil.rmtree(old, ignore_errors=True)
    fresh = root / f".new-{uuid4().hex}"
    try:
        _fill(fresh)
        fresh.rename(ready)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return ready


def _fill(folder: Path) -> None:
    packages = folder / "packages"
    packages.mkdir(parents=True)
    shutil.copyfile(Path(__file__).with_name("serve.py"), folder / "serve.py")
    for name in (*PACKAGES, *MODULES):
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            continue
        if name in MODULES:
            shutil.copyfile(spec.origin, packages / f"{name}.py")
        else:
            left_out = shutil.ignore_patterns("__pycache__")
            shutil.copytree(Path(spec.origin).parent, packages / name, ignore=left_out)
    # a container that mounts them may run as another user
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


@cache
def _mark() -> str:
    """Another one after Kedge, or what it copies, was upgraded."""
    from hashlib import sha256  # noqa: PLC0415  (once in the life of a node)
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415

    found = [Path(__file__).with_name("serve.py").read_text()]
    for name in (*PACKAGES, *MODULES):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} missing")
    return sha256("\n".join(found).encode()).hexdigest()[:16]
