"""Who is believed to have asked."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from kedge.workers.visitors import Visitors, client_of, stranger

PROXIES = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
HOST = b"hello.localhost"
NOBODY = Visitors()
BEHIND_PROXIES = Visitors(PROXIES)


def asked(client: str, **headers: str) -> tuple[str, list[tuple[bytes, bytes]]]:
    said = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return client, [(b"host", HOST), *said]


@pytest.mark.parametrize("visitors", [NOBODY, BEHIND_PROXIES])
def test_what_a_visitor_says_of_himself_is_not_believed(visitors: Visitors) -> None:
    asking = asked(
        "192.0.2.7", x_forwarded_for="198.51.100.1", x_forwarded_proto="https", x_request_id="mine"
    )

    assert visitors.of(asking[0], HOST, asking[1]) == ("192.0.2.7", "http", b"hello.localhost", False)
    assert visitors.request_id(*asking) != b"mine"


@pytest.mark.parametrize(
    ("said", "believed"),
    [
        ("198.51.100.1", "198.51.100.1"),
        ("203.0.113.9, 198.51.100.1", "198.51.100.1"),
        ("203.0.113.9, 198.51.100.1, 10.0.0.3", "198.51.100.1"),
        ("2001:db8::1, fd00::2", "2001:db8::1"),
        ("10.0.0.9, 10.0.0.3", "10.0.0.9"),
        ("::ffff:198.51.100.1, ::ffff:10.0.0.3", "198.51.100.1"),
        ("198.51.100.1:50123, 10.0.0.3:443", "198.51.100.1"),
        ("[2001:db8::1]:50123, [fd00::2]", "2001:db8::1"),
        ("198.51.100.1, not an address", "10.1.2.3"),
        ("", "10.1.2.3"),
    ],
)
def test_of_what_a_trusted_proxy_says_the_nearest_stranger_counts(said: str, believed: str) -> None:
    asking = asked("10.1.2.3", x_forwarded_for=said)
    assert BEHIND_PROXIES.of(asking[0], HOST, asking[1]).address == believed


def test_a_visitor_of_ipv4_is_known_as_one_where_a_socket_takes_both() -> None:
    """A listener on `[::]` shows him as `::ffff:192.0.2.7`."""
    assert NOBODY.of("::ffff:192.0.2.7", HOST, []).address == "192.0.2.7"
    assert b"x-real-ip: 192.0.2.7\r\n" in stranger("::ffff:192.0.2.7", HOST)
    proxied = asked("::ffff:10.1.2.3", x_forwarded_for="198.51.100.1", x_request_id="abc-123")
    assert BEHIND_PROXIES.of(proxied[0], HOST, proxied[1]).address == "198.51.100.1"
    assert BEHIND_PROXIES.request_id(*proxied) == b"abc-123"


def test_a_trusted_proxy_tells_the_scheme_and_the_request_id() -> None:
    asking = asked("10.1.2.3", x_forwarded_proto="https", x_request_id="abc-123")

    assert BEHIND_PROXIES.of(asking[0], HOST, asking[1]).scheme == "https"
    assert BEHIND_PROXIES.request_id(*asking) == b"abc-123"


@pytest.mark.parametrize(("name", "value"), [("x_forwarded_proto", "gopher"), ("x_request_id", "a b" * 60)])
def test_what_cannot_be_is_left_out_even_if_a_proxy_says_it(name: str, value: str) -> None:
    asking = asked("10.1.2.3", **{name: value})

    assert BEHIND_PROXIES.of(asking[0], HOST, asking[1]).scheme == "http"
    assert b" " not in BEHIND_PROXIES.request_id(*asking)


def test_who_comes_by_a_socket_has_no_address() -> None:
    assert BEHIND_PROXIES.of(client_of({"client": None}), HOST, []).address == ""
