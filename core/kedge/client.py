"""A client of Kedge's REST API: finds a server and talks to it."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kedge.errors import KedgeError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    import httpx
    from httpx_sse import ServerSentEvent

#: a broken stream is taken up again so often, with so many seconds between
STREAM_RETRIES, STREAM_PAUSE = 60, 1.0


class ClientError(KedgeError):
    """The server cannot be found or reached, or it said no; the message is its own."""

    code = 10500


class Unreachable(ClientError):
    """No answer came, or it broke off."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """Where the server is and who asks."""

    url: str
    token: str = field(repr=False)
    account: str

    @property
    def base(self) -> str:
        """The URL that the account's routes begin with."""
        return f"{self.url}/client/v4/accounts/{self.account}"

    def get(self, path: str, **params: Any) -> Any:
        """The result of a GET."""
        return self.request("GET", path, params=params)

    def all(self, path: str, *, per_page: int, **params: Any) -> list[Any]:
        """Every item of a list that comes in pages."""
        items: list[Any] = []
        page = 1
        while page:
            params |= {"page": page, "per_page": per_page}
            envelope = self._envelope("GET", path, params=params)
            items += envelope["result"]
            page = envelope["result_info"]["next_page"]
        return items

    def post(self, path: str, body: Any = None) -> Any:
        """The result of a POST."""
        return self.request("POST", path, json=body)

    def put(self, path: str, body: Any = None) -> Any:
        """The result of a PUT."""
        return self.request("PUT", path, json=body)

    def patch(self, path: str, body: Any) -> Any:
        """The result of a PATCH."""
        return self.request("PATCH", path, json=body)

    def delete(self, path: str) -> Any:
        """The result of a DELETE."""
        return self.request("DELETE", path)

    def request(self, method: str, path: str, **kwargs: Any) -> Any:
        """The `result` of the envelope. Raises `ClientError` with the server's own words."""
        return self._envelope(method, path, **kwargs)["result"]

    def _envelope(self, method: str, path: str, **kwargs: Any) -> dict[str, Any]:
        with self._client() as client:
            response = client.request(method, f"{self.base}{path}", **kwargs)
        return _envelope(response)

    def events(self, path: str, **params: Any) -> Generator[ServerSentEvent, None, None]:
        """The events of a stream. One that breaks is taken up again where it broke, for a minute.

        Close the iterator if you leave it before its end.
        """
        last_id, failures = "", 0
        while True:
            try:
                for event in self._stream(path, params, last_id):
                    last_id, failures = event.id or last_id, 0
                    if event.event == "end":
                        return
                    yield event
            except Unreachable:
                failures += 1
                if failures > STREAM_RETRIES:
                    raise
                time.sleep(STREAM_PAUSE)

    def _stream(self, path: str, params: dict[str, Any], last_id: str) -> Iterator[ServerSentEvent]:
        from httpx_sse import connect_sse  # noqa: PLC0415  (few commands stream)

        url, headers = f"{self.base}{path}", {"Last-Event-ID": last_id} if last_id else {}
        with (
            self._client() as client,
            connect_sse(client, "GET", url, params=params, headers=headers) as source,
        ):
            if source.response.status_code != 200:
                source.response.read()
                _envelope(source.response)
            # a comment that shows life comes as an event without data, once any event had an id
            yield from (event for event in source.iter_sse() if event.data)

    @contextmanager
    def _client(self) -> Iterator[httpx.Client]:
        import httpx  # noqa: PLC0415  (takes an eighth of a second, and `kedge up` has no need of it)

        if not (self.token.isascii() and self.token.isprintable()):
            raise ClientError("the token is none of Kedge's: see --token and KEDGE_TOKEN")
        timeout = httpx.Timeout(10, read=60)
        headers = {"Authorization": f"Bearer {self.token}"}
        # reading the certificates of the world takes 20 ms; without TLS nobody looks at them
        verify = self.url.startswith("https:")
        try:
            with httpx.Client(headers=headers, timeout=timeout, trust_env=False, verify=verify) as client:
                yield client
        # a name that no resolver could be asked for is a UnicodeError
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError) as error:
            raise ClientError(
                f"{self.url!r} is no URL such as http://127.0.0.1:8787 ({error}): see --url and KEDGE_URL"
            ) from error
        except httpx.TransportError as error:
            raise Unreachable(
                f"no Kedge answers at {self.url} ({error}). Start one with `kedge up`, "
                "or say where it is with --url or KEDGE_URL."
            ) from error


def _envelope(response: httpx.Response) -> dict[str, Any]:
    try:
        envelope: dict[str, Any] = response.json()
    except ValueError:
        raise ClientError(
            f"{response.url} answered {response.status_code} and no JSON: is it a Kedge?"
        ) from None
    if not envelope.get("success"):
        errors = envelope.get("errors") or [{"message": f"status {response.status_code}"}]
        raise ClientError("\n".join(f"{error['message']}" for error in errors))
    return envelope


def find_server(url: str | None, token: str | None, account: str, data_dir: Path | None) -> Server:
    """The server that options or environment name, else the one whose data dir is on this machine."""
    if url and token:
        return Server(url=url.rstrip("/"), token=token, account=account)
    from kedge.config import default_data_dir  # noqa: PLC0415  (not needed above)

    folder = data_dir or default_data_dir()
    try:
        url = url or json.loads((folder / "node.json").read_text())["url"]
        token = token or (folder / "admin.token").read_text().strip()
    except OSError as error:
        raise ClientError(
            f"no Kedge found: {folder} holds none. Start one with `kedge up`, or name one with --url and "
            "--token (KEDGE_URL and KEDGE_TOKEN), or its --data-dir."
        ) from error
    return Server(url=str(url).rstrip("/"), token=token, account=account)
