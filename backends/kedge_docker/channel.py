"""The standard input of a container: how a runner gets its assignment without a description showing it."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from kedge_docker.container import WORKSPACE
from kedge_docker.door import UNIX

if TYPE_CHECKING:
    import docker

    from kedge import ComputeRequest


class Channel:
    """One attached input. Closing it without a word ends the runner that waits at its other end."""

    def __init__(self, stream: Any) -> None:
        """Keep what the SDK calls the socket of an attached container."""
        self._stream = stream

    @classmethod
    def attach(cls, api: docker.APIClient, container_id: str) -> Channel:
        """Attach to a container that has not been started yet. Blocks."""
        options = {"stdin": 1, "stream": 1, "stdout": 0, "stderr": 0, "logs": 0}
        return cls(api.attach_socket(container_id, params=options))

    def send(self, data: bytes) -> None:
        """Give the runner its assignment, and close. Raises `OSError`. Blocks."""
        try:
            raw = getattr(self._stream, "_sock", self._stream)
            raw.sendall(data)
        finally:
            self.close()

    def close(self) -> None:
        """Let go."""
        # the response first: it would find its own stream closed, and say so
        response = getattr(self._stream, "_response", None)
        if response is not None:
            response.close()
        with suppress(OSError):
            self._stream.close()


def assignment_of(request: ComputeRequest, endpoint: str) -> bytes:
    """What a runner that finds Kedge at `endpoint` reads: one line of JSON."""
    # git and other tools cannot speak to a Unix socket
    assignment = request.assignment(WORKSPACE, endpoint=endpoint, relay=endpoint.startswith(UNIX))
    return json.dumps(assignment).encode() + b"\n"
