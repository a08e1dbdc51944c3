"""A control plane over HTTP, in JSON 1.1."""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

from kedge.testing.ecs.model import mistakes, service_model
from kedge.testing.ecs.refused import Refused

if TYPE_CHECKING:
    from kedge.testing.ecs.control_plane import ControlPlane

TARGET = "AmazonEC2ContainerServiceV20141113."
SIGNED = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/\d{8}/([a-z0-9-]+)/ecs/aws4_request, "
    r"SignedHeaders=[a-z0-9;-]+, Signature=[0-9a-f]{64}"
)


class EcsServer:
    """Answers on a free port of loopback while it is entered."""

    def __init__(self, plane: ControlPlane, *, access_key: str = "test") -> None:
        """Only `access_key` is known."""
        self.plane = plane
        self._planes = {plane.region: plane}
        self.access_key = access_key
        #: answers that did not have the shape of the service model; there must be none
        self.wrong_answers: list[str] = []

    def __enter__(self) -> Self:
        """Listen."""
        handler = type("Handler", (_Handler,), {"ecs": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", getattr(self, "_port", 0)), handler)
        self._server.daemon_threads = True
        self._port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Listen no longer. It may be entered again, at the same port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def add(self, plane: ControlPlane) -> None:
        """Let another region be answered for: calls are signed for theirs."""
        self._planes[plane.region] = plane

    def answer(self, headers: Any, body: bytes) -> tuple[int, dict[str, Any]]:
        """Status and body for a request."""
        try:
            return 200, self._done(headers, body)
        except Refused as error:
            return error.status, {"__type": error.code, "message": str(error), **error.members}

    def _done(self, headers: Any, body: bytes) -> dict[str, Any]:
        signed = SIGNED.fullmatch(headers.get("Authorization", ""))
        if signed is None or "X-Amz-Date" not in headers:
            raise Refused("MissingAuthenticationTokenException", "Missing Authentication Token")
        if signed[1] != self.access_key:
            said = "The security token included in the request is invalid."
            raise Refused("UnrecognizedClientException", said)
        if signed[2] not in self._planes:
            raise Refused("InvalidSignatureException", "Credential should be scoped to a valid region.")
        name = headers.get("X-Amz-Target", "").removeprefix(TARGET)
        if name not in service_model().operation_names or not hasattr(self.plane, f"_{name}"):
            raise Refused("UnknownOperationException", name)
        operation = service_model().operation_model(name)
        given = json.loads(body)
        if wrong := mistakes(operation.input_shape, given, name):
            raise Refused("InvalidParameterException", "; ".join(wrong))
        answer = self._planes[signed[2]].call(name, given)
        if wrong := mistakes(operation.output_shape, answer, name):
            self.wrong_answers += wrong
            raise Refused("ServerException", "; ".join(wrong), status=500)
        return answer


class _Handler(BaseHTTPRequestHandler):
    ecs: EcsServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status, answer = self.ecs.answer(self.headers, body)
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the base class's name)
        """Say nothing."""
