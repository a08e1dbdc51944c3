"""What is no address or token is said to be none."""

from __future__ import annotations

import pytest

from kedge.client import ClientError, Server


@pytest.mark.parametrize(
    "url",
    [
        "http://a\x07b",
        "http://[::1",
        "http://ex\u202eample",
        "http://a..b",
        "http://xn--",
        "localhost:80",
        "",
    ],
)
def test_what_is_no_url_is_called_so_at_once(url: str) -> None:
    server = Server(url=url, token="kdg_1", account="default")
    with pytest.raises(ClientError, match="is no URL"):
        server.get("/workers/workers")
    with pytest.raises(ClientError, match="is no URL"):
        next(server.events("/workers/workers/hello/logs"))


@pytest.mark.parametrize("token", ["t\xf6ken", "two\nlines"])
def test_what_is_no_token_is_called_so_and_not_shown(token: str) -> None:
    with pytest.raises(ClientError, match="the token is none") as raised:
        Server(url="http://127.0.0.1:1", token=token, account="default").get("/workers/workers")
    assert token not in str(raised.value)
