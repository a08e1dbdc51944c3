"""Kinds of values that settings have, and what is wrong with one that is none."""

from __future__ import annotations

import re
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from kedge.config.units import Duration

NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", re.ASCII)
PLUGIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
DOMAIN = re.compile(
    r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII
)
LISTEN = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})", re.ASCII)
REGION = re.compile(r"[a-z0-9]+:[a-z0-9-]+", re.ASCII)
PUBLIC_URL = re.compile(r"https?://[^\s/?#@]+(?:/[^\s?#]*)?")


def matching(pattern: re.Pattern[str], words: str) -> AfterValidator:
    """Takes texts that match whole; of any other `words` say what it must be."""

    def check(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(words)
        return text

    return AfterValidator(check)


def _listen(text: str) -> str:
    match = LISTEN.fullmatch(text)
    if match is None or int(match[1]) > 65535:
        raise ValueError('must be HOST:PORT, such as "127.0.0.1:8787" or "[::1]:8787"')
    return text


def _folder(path: Path) -> Path:
    if "\0" in str(path):
        raise ValueError("must be the path of a folder")
    return path


def _public_url(text: str) -> str:
    if not PUBLIC_URL.fullmatch(text):
        raise ValueError('must be a URL without a query, such as "https://kedge.example.com"')
    return text.rstrip("/")


def _target(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not (host and colon) or not (port == "*" or (port.isdecimal() and int(port) < 65536)):
        raise ValueError('must be HOST:PORT, such as "db.example.com:5432"')
    return text.lower()


def _peer_url(text: str) -> str:
    parts = urlsplit(text)
    known = parts.scheme in {"http", "https"}
    if not known or not parts.hostname or parts.path.strip("/") or parts.query:
        raise ValueError(
            'must be "https://HOST:PORT", or "http://HOST:PORT" in a network of your own, such as a VPN'
        )
    return text.rstrip("/")


def _domain(text: str) -> str:
    if not DOMAIN.fullmatch(text) or len(text) > 190:
        raise ValueError('must be a domain in small letters, such as "localhost" or "workers.example.com"')
    return text


def _database(text: str) -> str:
    if text != "sqlite" and not re.fullmatch(r"(?:sqlite|postgresql)(?:\+[a-z0-9]+)?://.*", text):
        raise ValueError('must be "sqlite", or a URL that begins with "postgresql://" or "sqlite://"')
    return text


def _network(value: Any) -> Any:
    if isinstance(value, str):
        with suppress(ValueError):
            return ip_network(value)
    raise ValueError('must be a network, such as "10.0.0.0/8", "fd00::/8" or one address')


def _names(value: Any) -> Any:
    """One name, or several between commas, is what an environment variable can hold."""
    if isinstance(value, str):
        return [name.strip() for name in value.split(",") if name.strip()]
    return value


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"names {', '.join(twice)} twice")
    return names


Name = Annotated[str, matching(NAME, "must be 1 to 63 letters, digits, dots, _ and -")]
Listen = Annotated[str, AfterValidator(_listen)]
Folder = Annotated[Path, AfterValidator(_folder)]
PublicUrl = Annotated[str, AfterValidator(_public_url)]
Region = Annotated[str, matching(REGION, 'must be PROVIDER:REGION, such as "aws:eu-central-1"')]
Target = Annotated[str, AfterValidator(_target)]
PeerUrl = Annotated[str, AfterValidator(_peer_url)]
Domain = Annotated[str, AfterValidator(_domain)]
Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)]
DatabaseUrl = Annotated[str, AfterValidator(_database)]
PluginName = Annotated[
    str, matching(PLUGIN_NAME, "must be the name of a plugin: letters, digits, dots, _ and -")
]
Names = Annotated[tuple[PluginName, ...], BeforeValidator(_names), AfterValidator(_distinct)]
Positive = Annotated[Duration, Field(gt=0)]
