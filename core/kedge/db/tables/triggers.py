"""What makes a worker build: its repository and its rules."""

# SQLModel declares __tablename__ as a function, which pyright will not let a text replace.
# pyright: reportAssignmentType=false

from typing import Any

from sqlalchemy import JSON, UniqueConstraint
from sqlmodel import Field, SQLModel

from kedge.db.tables.columns import json_column, optional_time_column, time_column


class RepoConnection(SQLModel, table=True):
    """A repository that an account may build."""

    __tablename__ = "repo_connection"
    __table_args__ = (UniqueConstraint("account_id", "provider_type", "provider_account_id", "repo_id"),)

    uuid: str = Field(primary_key=True)
    account_id: str = Field(foreign_key="account.id", index=True)
    provider_type: str
    provider_account_id: str
    provider_account_name: str
    repo_id: str
    repo_name: str
    created_on: int = time_column()
    modified_on: int = time_column()
    deleted_on: int | None = optional_time_column()


class BuildToken(SQLModel, table=True):
    """A credential that builds deploy with; the secret is encrypted."""

    __tablename__ = "build_token"

    uuid: str = Field(primary_key=True)
    account_id: str = Field(foreign_key="account.id", index=True)
    name: str
    cloudflare_token_id: str = ""
    secret: bytes | None = None
    owner_type: str = "user"
    created_on: int = time_column()


class Trigger(SQLModel, table=True):
    """Which pushes build a worker, and how."""

    __tablename__ = "build_trigger"

    uuid: str = Field(primary_key=True)
    account_id: str = Field(foreign_key="account.id", index=True)
    worker_id: str = Field(foreign_key="worker.id", index=True)
    repo_connection_uuid: str = Field(foreign_key="repo_connection.uuid", index=True)
    build_token_uuid: str | None = None
    name: str
    build_command: str = ""
    deploy_command: str = ""
    root_directory: str = "/"
    branch_includes: list[str] = json_column(list)
    branch_excludes: list[str] = json_column(list)
    path_includes: list[str] = json_column(list)
    path_excludes: list[str] = json_column(list)
    build_caching_enabled: bool = False
    #: caches that are declared here, each with name, paths, key and restore_keys
    build_caches: list[dict[str, Any]] = Field(
        default_factory=list, sa_type=JSON, sa_column_kwargs={"server_default": "[]"}
    )
    created_on: int = time_column()
    modified_on: int = time_column()
    deleted_on: int | None = optional_time_column()


class TriggerVariable(SQLModel, table=True):
    """One build variable of a trigger; a secret's value is encrypted."""

    __tablename__ = "trigger_variable"

    trigger_uuid: str = Field(primary_key=True, foreign_key="build_trigger.uuid")
    key: str = Field(primary_key=True)
    account_id: str = Field(foreign_key="account.id", index=True)
    is_secret: bool = False
    value: bytes
    created_on: int = time_column()
