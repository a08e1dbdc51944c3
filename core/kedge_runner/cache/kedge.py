"""Kedge, as the cache speaks to it: with less patience than the build, which can do without a cache."""

from __future__ import annotations

import threading

from kedge_runner.client import Client
from kedge_runner.connection import Endpoint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kedge_runner.cache.transfer import Request

PATIENCE = 15.0


class Kedge:
    """One attempt's way to its caches."""

    def __init__(self, endpoint: str, token: str, prefix: str) -> None:
        """As `Client`."""
        self._client = Client(endpoint, token, prefix, patience=PATIENCE)
        self._endpoint = Endpoint(endpoint)
        self._token = token
        self._prefix = prefix
        self._lock = threading.Lock()
        #: until a connection has failed
        self.store_in_reach = True

    def call(self, method: str, path: str, body: object = None) -> Any:
        """The result of a call; may be called by several threads. Raises `Refused`."""
        with self._lock:
            return self._client.call(method, path, body)

    def give_up_store(self, error: Exception) -> None:
        """No more connections to the store from here on; tell why."""
        self.store_in_reach = False
        print(f"Cache: its bytes go through Kedge, for the store is out of reach: {error}", flush=True)

    def request(self, path: str) -> Request:
        """A transfer through Kedge, for stores that have no URLs."""
        from kedge_runner.cache.transfer import Request

        target = self._endpoint.path if self._endpoint.scheme != "unix" else ""
        return Request(
            self._endpoint, f"{target}{self._prefix}{path}", {"Authorization": f"Bearer {self._token}"}
        )
