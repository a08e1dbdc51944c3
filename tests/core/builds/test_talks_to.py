"""What is known of a build before it runs: whom it will ask."""

from __future__ import annotations

import pytest

from kedge.builds.talks_to import address_of


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://user:secret@npm.test/path/", "npm.test:443"),
        ("http://npm.test", "npm.test:80"),
        ("https://npm.test:4873/", "npm.test:4873"),
        ("ssh://git@git.test/repo", "git.test:22"),
        ("https://[2001:DB8::1]:8443/simple", "[2001:db8::1]:8443"),
        (" https://pypi.test/simple \n", "pypi.test:443"),
        ("npm.test", None),
        ("https://", None),
        ("https://npm.test:port/", None),
        ("file:///srv/packages", None),
        ("", None),
    ],
)
def test_of_a_url_its_address_is_taken_and_nothing_else(url: str, address: str | None) -> None:
    assert address_of(url) == address
