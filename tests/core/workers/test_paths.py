from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kedge.workers.manifest import File, is_safe_path
from kedge.workers.paths import Elsewhere, Found, decode, find

FILES = {
    path: File("0" * 64, 1)
    for path in (
        "index.html",
        "404.html",
        "about.html",
        "docs/index.html",
        "docs/404.html",
        "docs/guide/start.html",
        "app.js",
        "both.html",
        "both/index.html",
        "a b/ü.html",
        "plain",
    )
}


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/", "index.html"),
        ("/index.html", "index.html"),
        ("/about", "about.html"),
        ("/about.html", "about.html"),
        ("/docs/", "docs/index.html"),
        ("/docs/guide/start", "docs/guide/start.html"),
        ("/app.js", "app.js"),
        ("/both", "both.html"),
        ("/both/", "both/index.html"),
        ("/plain", "plain"),
        ("/a b/ü", "a b/ü.html"),
    ],
)
def test_a_path_finds_its_file(path: str, name: str) -> None:
    assert find(FILES, path) == Found(name, FILES[name])


@pytest.mark.parametrize(
    ("path", "location"), [("/docs", "/docs/"), ("/about/", "/about"), ("/a b/ü/", "/a%20b/%C3%BC")]
)
def test_a_path_that_is_nearly_right_is_sent_on(path: str, location: str) -> None:
    assert find(FILES, path) == Elsewhere(location)


@pytest.mark.parametrize(
    ("path", "page"),
    [
        ("/nothing", "404.html"),
        ("/docs/nothing", "docs/404.html"),
        ("/docs/guide/deep/nothing", "docs/404.html"),
        ("/docs/guide/", "docs/404.html"),
        ("//", "404.html"),
        ("//about", "404.html"),
        ("/docs//", "docs/404.html"),
        ("/About", "404.html"),
        ("/./about", "404.html"),
        ("/" + "a/" * 20_000, "404.html"),
    ],
)
def test_what_is_not_there_gets_the_nearest_page_that_says_so(path: str, page: str) -> None:
    assert find(FILES, path) == Found(page, FILES[page], 404)


def test_without_such_a_page_nothing_is_found() -> None:
    assert find({"app.js": FILES["app.js"]}, "/nothing") is None


@pytest.mark.parametrize(
    "raw",
    [b"/../etc/passwd", b"/a/..", b"/%2e%2e/x", b"/..%2fx", b"/a%00", b"/a\\b", b"/%5c", b"/%ff", b"*", b""],
)
def test_a_path_that_no_browser_sends_is_refused(raw: bytes) -> None:
    assert decode(raw) is None


def test_a_path_is_decoded_once_and_no_more() -> None:
    assert decode(b"/%252e%252e/a%20b+c%zz") == "/%2e%2e/a b+c%zz"


@given(st.binary(max_size=60).map(lambda raw: b"/" + raw))
@example(b"//evil.example/docs")
@example(b"/%2f%2fevil.example")
def test_no_path_leaves_the_version_or_the_host(raw: bytes) -> None:
    path = decode(raw)
    if path is None:
        return
    found = find(FILES, path)
    if isinstance(found, Elsewhere):
        assert found.location.isascii()
        assert found.location.startswith("/")
        assert not found.location.startswith("//")
    elif found is not None:
        assert found.path in FILES


@pytest.mark.parametrize("path", ["a", "a/b.c", "a b", "ü/日本", ".well-known/x", "a'b\"c?#%", "..a", "a.."])
def test_a_usual_path_may_be_uploaded(path: str) -> None:
    assert is_safe_path(path)


@pytest.mark.parametrize(
    "path",
    [
        *("", "/a", "a/", "a//b", "../a", "a/../b", "a/./b", ".", "..", "a\\b"),
        *("a\0", "a\nb", "\x7f", "\x85", "a" * 1025, "ü" * 513, "\ud800"),
    ],
)
def test_an_unusual_path_may_not(path: str) -> None:
    assert not is_safe_path(path)


@given(st.text(max_size=40))
def test_every_uploaded_path_is_found_again_by_its_url(path: str) -> None:
    from urllib.parse import quote

    if is_safe_path(path):
        file = File("1" * 64, 2)
        decoded = decode(f"/{quote(path)}".encode())
        assert decoded is not None
        assert find({path: file}, decoded) == Found(path, file)
