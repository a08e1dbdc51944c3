"""Carries parts of an archive to a store, one after the other."""

from __future__ import annotations

import http.client

from kedge_runner.cache.transfer import BLOCK_BYTES, Again, connect, exchange, words_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kedge_runner.cache.transfer import Request


class Carrier:
    """Over a connection that it keeps, and opens anew after every failure. Belongs to one thread."""

    def __init__(self) -> None:
        """Connect to nothing yet."""
        self._connection: http.client.HTTPConnection | None = None

    def put(self, request: Request, data: memoryview) -> str:
        """Send a part; return its ETag. Raises `Unreachable`, `Again` or `CacheFailed`."""
        if self._connection is None:
            self._connection = connect(request.endpoint)
        try:
            response = exchange(self._connection, "PUT", request, (data,))
            response.read(BLOCK_BYTES)
            etag = response.headers["ETag"]
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Again(words_of(error)) from error
        except BaseException:
            self.close()
            raise
        if response.will_close:
            self.close()
        if not etag:
            raise Again("the store does not name what it has stored")
        return str(etag)

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
