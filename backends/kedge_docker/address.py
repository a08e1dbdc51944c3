"""Addresses as containers see them."""

from __future__ import annotations

from urllib.parse import urlsplit

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def is_loopback(url: str) -> bool:
    """Whether it leads a container to nobody but itself, or a process to its own machine."""
    return urlsplit(url).hostname in LOOPBACK
