"""Repositories that are built."""

from __future__ import annotations

# pydantic takes no other before Python 3.12
from typing_extensions import TypedDict


class ConnectionShape(TypedDict):
    """A repository that an account may build."""

    repo_connection_uuid: str
    repo_id: str
    repo_name: str
    provider_type: str
    provider_account_id: str
    provider_account_name: str
    created_on: str | None
    modified_on: str | None
    deleted_on: str | None


class RepositoryPlace(TypedDict):
    """Where a repository is."""

    url: str


class ConnectedShape(ConnectionShape):
    """A connection that was just made."""

    kedge: RepositoryPlace


class UnreadableShape(TypedDict):
    """Files that could not be understood."""

    unreadable: list[str]


class AutofillShape(TypedDict):
    """What a repository tells of how to build it."""

    config_file: str | None
    default_worker_name: str | None
    env_worker_names: dict[str, str]
    package_manager: str | None
    scripts: dict[str, str]
    kedge: UnreadableShape
