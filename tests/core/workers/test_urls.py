from __future__ import annotations

import pytest

from kedge.workers.content_types import content_type
from kedge.workers.urls import WorkerUrls, worker_url


@pytest.mark.parametrize(
    ("public_url", "domain", "url"),
    [
        ("http://127.0.0.1:8787", "localhost", "http://hello.localhost:8787/"),
        ("https://kedge.example.com", "workers.example.com", "https://hello.workers.example.com/"),
        ("http://[::1]:80/", "localhost", "http://hello.localhost:80/"),
    ],
)
def test_a_worker_has_the_scheme_and_port_of_the_public_url(public_url: str, domain: str, url: str) -> None:
    assert worker_url(public_url, domain, "hello") == url


def test_previews_stand_before_the_worker() -> None:
    urls = WorkerUrls(public_url="http://x:1", domain="localhost")

    assert urls.alias("hello.acme", "next") == "http://next-hello.acme.localhost:1/"
    assert urls.version("hello", "0123456789ab") == "http://01234567-hello.localhost:1/"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("index.html", b"text/html; charset=utf-8"),
        ("a.b/LOGO.PNG", b"image/png"),
        ("x.min.js", b"text/javascript; charset=utf-8"),
        ("plain", b"application/octet-stream"),
        ("folder.html/plain", b"application/octet-stream"),
        ("a.unknown", b"application/octet-stream"),
        (".html", b"text/html; charset=utf-8"),
    ],
)
def test_the_type_follows_from_the_extension(path: str, expected: bytes) -> None:
    assert content_type(path) == expected
