"""Credentials."""

from __future__ import annotations

# pydantic takes no other before Python 3.12
from typing_extensions import TypedDict


class BuildTokenShape(TypedDict):
    """A credential that builds deploy with."""

    build_token_uuid: str
    build_token_name: str
    cloudflare_token_id: str
    owner_type: str


class ApiTokenShape(TypedDict):
    """A token of this API."""

    id: str
    name: str
    can_write: bool
    created_on: str | None
    revoked_on: str | None


class NewApiTokenShape(ApiTokenShape):
    """A token of this API, the only time that its value is shown."""

    value: str
