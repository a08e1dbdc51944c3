"""Back ends that do not count."""

from __future__ import annotations

import pytest

from kedge_smart.excluded import Excluded


@pytest.mark.parametrize(
    "host",
    ["sentry.io", "o1.ingest.sentry.io:443", "API.AMPLITUDE.COM", "logs.internal", "x.y.corp.example:1"],
)
def test_what_is_listed_is_excluded(host: str) -> None:
    assert Excluded(["logs.internal", "*.corp.example"]).reason(host)


@pytest.mark.parametrize(
    "host", ["notsentry.io", "db.example.com:5432", "", "corp.example.org", "10.0.0.1:80"]
)
def test_what_is_not_listed_counts(host: str) -> None:
    assert Excluded(["logs.internal", "*.corp.example"]).reason(host) is None
