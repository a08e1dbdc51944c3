"""Uploads and the versions they become."""

from __future__ import annotations

from typing import NotRequired

# pydantic takes no other before Python 3.12
from typing_extensions import TypedDict

from kedge.api.shapes.deployments import StartFailureShape


class BegunShape(TypedDict):
    """An upload, and which contents it still needs."""

    upload_id: str
    missing: list[str]


class CompletedShape(TypedDict):
    """A version that is stored whole, where it is to be seen, and why it is not live if that was wished."""

    version_id: str
    number: int
    url: str
    preview_url: str
    alias_url: str | None
    live: bool
    reason: str | None
    deployment_id: str | None
    state: str | None
    failure: StartFailureShape | None


class VersionMetadata(TypedDict):
    """Where a version comes from. `author_email` may be another name than an e-mail address."""

    created_on: str | None
    modified_on: str | None
    source: str
    hasPreview: bool
    author_email: NotRequired[str]


class VersionExtra(TypedDict):
    """What Kedge knows of a version beyond Workers' API."""

    kind: str
    digest: str
    file_count: int
    byte_count: int
    commit_hash: str | None
    branch: str | None
    build_uuid: str | None


class VersionShape(TypedDict):
    """An immutable upload."""

    id: str
    number: int
    metadata: VersionMetadata
    annotations: dict[str, str]
    kedge: VersionExtra


class VersionsShape(TypedDict):
    """Versions of a worker."""

    items: list[VersionShape]
