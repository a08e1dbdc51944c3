"""Several real nodes on one PostgreSQL, each a process of its own, with files where all find them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from cryptography.fernet import Fernet

from kedge.testing.node import RunningNode

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CONFIG = """
database = "{database}"
[node]
name = "{name}"
location = "{name}"
region = "test:{name}"
[server]
secret_key = "file:{folder}/secret.key"
[blobs.disk]
folder = "{folder}/blobs"
[logs]
use = "database"
[forges.git]
folder = "{folder}/repos"
{more}
"""


class Cluster:
    """Its nodes by name; they run as soon as it is made."""

    def __init__(
        self, folder: Path, database: str, *, names: Sequence[str] = ("a", "b", "c"), more: str = ""
    ) -> None:
        """`more` is TOML that all nodes get. They start together."""
        self._folder = folder
        self._database = database
        self._more = more
        (folder / "secret.key").write_bytes(Fernet.generate_key())
        self.nodes = {name: self.make(name) for name in names}
        try:
            with ThreadPoolExecutor(max(len(self.nodes), 1)) as pool:
                list(pool.map(RunningNode.start, self.nodes.values()))
        except BaseException:
            self.stop()
            raise

    def make(self, name: str) -> RunningNode:
        """A further node that does not run yet."""
        own = self._folder / name
        own.mkdir()
        values = {"database": self._database, "name": name, "folder": self._folder, "more": self._more}
        return RunningNode(own, CONFIG.format(**values))

    def __getitem__(self, name: str) -> RunningNode:
        """The node of that name."""
        return self.nodes[name]

    def stop(self) -> None:
        """Ask every node to stop."""
        for node in self.nodes.values():
            node.stop()
