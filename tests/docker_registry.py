"""A registry of a test's own: Debian's `docker-registry`, which wants to know who asks."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Self

import docker
import docker.errors

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PROGRAM = "docker-registry"
USER, PASSWORD = "kedge", "sesame"
HTPASSWD = "kedge:$2y$05$X1cfg57Ts6jnBguLSrQjhu7fNP4k6XfE5VjFm9kPjAKCEU0JATXXa\n"
TRIES = 200


class Registry:
    """Listens on loopback, where engines speak plain HTTP to it. It may be stopped and started again."""

    def __init__(
        self, folder: Path, port: int | None = None, inside: Callable[..., list[str]] = lambda *argv: [*argv]
    ) -> None:
        """Nothing runs yet. `inside` makes a command one that is run in another network namespace."""
        self._folder = folder
        self._inside = inside
        self._process: subprocess.Popen[bytes] | None = None
        self.host = f"127.0.0.1:{port or _free_port()}"

    def __enter__(self) -> Self:
        """Start."""
        self._folder.mkdir(exist_ok=True)
        passwords = self._folder / "htpasswd"
        passwords.write_text(HTPASSWD)
        config = {
            "version": "0.1",
            "storage": {"filesystem": {"rootdirectory": str(self._folder / "data")}},
            "http": {"addr": self.host},
            "auth": {"htpasswd": {"realm": "kedge", "path": str(passwords)}},
        }
        # JSON is YAML
        (self._folder / "config.yml").write_text(json.dumps(config))
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()

    def start(self) -> None:
        """Start it, and return when it listens."""
        command = self._inside(PROGRAM, "serve", str(self._folder / "config.yml"))
        log = self._folder / "log"
        with log.open("ab") as file:
            self._process = subprocess.Popen(command, stdout=file, stderr=file)
        for _ in range(TRIES):
            if "listening on" in log.read_text():
                return
            assert self._process.poll() is None, log.read_text()[-2000:]
            time.sleep(0.05)
        raise AssertionError(log.read_text()[-2000:])

    def stop(self) -> None:
        """Stop it; what it holds stays."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            (self._folder / "log").unlink()

    def push(self, client: docker.DockerClient, image: str, name: str) -> str:
        """Put an engine's image here under another name, which is returned and which the engine forgets."""
        full = f"{self.host}/{name}"
        client.images.get(image).tag(full)
        credentials = {"username": USER, "password": PASSWORD}
        said = client.images.push(full, auth_config=credentials)
        assert "errorDetail" not in said, said
        client.images.remove(full)
        return full


def registry_is_missing() -> str | None:
    """Why there can be none."""
    return None if shutil.which(PROGRAM) else f"no {PROGRAM} is installed (Debian: {PROGRAM})"


def forget(client: docker.DockerClient, image: str) -> None:
    """Have an engine forget an image, if it has it."""
    try:
        client.images.remove(image, force=True)
    except docker.errors.ImageNotFound:
        return


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
