"""Back ends that no request waits for in earnest."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

#: services that take logs, metrics, traces and events
ANALYTICS = (
    "*.amplitude.com",
    "*.axiom.co",
    "*.betterstack.com",
    "*.datadoghq.com",
    "*.datadoghq.eu",
    "*.google-analytics.com",
    "*.grafana.net",
    "*.honeycomb.io",
    "*.ingest.sentry.io",
    "*.logtail.com",
    "*.mixpanel.com",
    "*.newrelic.com",
    "*.nr-data.net",
    "*.plausible.io",
    "*.posthog.com",
    "*.segment.io",
    "*.sentry.io",
    "*.splunkcloud.com",
    "*.tinybird.co",
)


class Excluded:
    """Hosts by name: `*.example.com` stands for `example.com` and everything below it."""

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        """Exclude what `patterns` name, besides analytics services."""
        self._analytics = _Names(ANALYTICS)
        self._configured = _Names(patterns)

    def reason(self, host: str) -> str | None:
        """Why a back end (`name` or `name:port`) does not count, or `None`."""
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        if name.lower() in self._configured:
            return "excluded by configuration"
        if name.lower() in self._analytics:
            return "an analytics or logging service"
        return None


class _Names:
    def __init__(self, patterns: Iterable[str]) -> None:
        self._exact = {pattern.lower() for pattern in patterns if not pattern.startswith("*.")}
        self._below = {pattern[2:].lower() for pattern in patterns if pattern.startswith("*.")}

    def __contains__(self, name: str) -> bool:
        if name in self._exact:
            return True
        while name:
            if name in self._below:
                return True
            name = name.partition(".")[2]
        return False
