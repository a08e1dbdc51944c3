"""Several real nodes on one PostgreSQL, each a process of its own, with files where all find them."""

from __future__ import annotations

import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from cryptography.fernet import Fernet

from kedge.testing.node import RunningNode
from kedge.testing.postgresql import server

if TYPE_CHECKING:
    from collections.abc import Sequence

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
            with ThreadPoolExecutor(len(self.nodes)) as pool:
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


def main() -> None:
    """Three locations on this machine until it is interrupted."""
    database = sys.argv[1] if len(sys.argv) > 1 else None
    with TemporaryDirectory(prefix="kedge-cluster-") as folder, ExitStack() as stack:
        if database is None:
            database = stack.enter_context(stack.enter_context(server(None)).database())
        cluster = Cluster(Path(folder), database, names=("sydney", "frankfurt", "chicago"))
        stack.callback(cluster.stop)
        for name, node in cluster.nodes.items():
            sys.stdout.write(f"{name:10} {node.server.url}  (data in {node.data_dir})\n")
        sys.stdout.flush()
        with suppress(KeyboardInterrupt):
            signal.pause()


if __name__ == "__main__":
    main()
