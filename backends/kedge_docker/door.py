"""The folder that containers see of Kedge: the socket where it answers, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

#: where a container finds the folder
INSIDE = "/run/kedge"
SOCKET = "kedge.sock"
UNIX = "unix:"


class Door:
    """A folder with one socket in it. It outlives restarts of the node, which renew the socket."""

    def __init__(self, data_dir: Path) -> None:
        """Keep it below `data_dir`; nothing is made yet."""
        self.folder = (data_dir / "docker" / "door").absolute()

    def open(self, endpoint: str) -> None:
        """Put the socket of the node there. Raises `OSError`. Blocks."""
        # Other users of this machine are kept out above; a build's user has to come through below.
        self.folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.mkdir(mode=0o711, exist_ok=True)
        self.folder.chmod(0o711)
        socket = Path(endpoint.removeprefix(UNIX))
        fresh = self.folder / f".{SOCKET}.new"
        fresh.unlink(missing_ok=True)
        os.link(socket, fresh)
        fresh.chmod(0o666)
        fresh.replace(self.folder / SOCKET)

    @property
    def endpoint(self) -> str:
        """The node's endpoint, as a container sees it."""
        return f"{UNIX}{INSIDE}/{SOCKET}"
