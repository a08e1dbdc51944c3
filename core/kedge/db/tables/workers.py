"""What is deployed."""

# SQLModel declares __tablename__ as a function, which pyright will not let a text replace.
# pyright: reportAssignmentType=false

from typing import Any

from sqlalchemy import BigInteger, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from kedge.db.tables.columns import added_json_column, json_column, time_column

IS_STARTING = text("state = 'starting'")


class Worker(SQLModel, table=True):
    """A deployed project. `id` is the immutable tag that the REST API calls `external_script_id`."""

    __tablename__ = "worker"
    __table_args__ = (UniqueConstraint("account_id", "name"),)

    id: str = Field(primary_key=True, max_length=32)
    account_id: str = Field(foreign_key="account.id", index=True)
    name: str = Field(index=True)
    created_on: int = time_column()
    modified_on: int = time_column()


class Upload(SQLModel, table=True):
    """A version on its way: its manifest is known, some of its files may be missing."""

    __tablename__ = "upload"

    id: str = Field(primary_key=True)
    account_id: str = Field(foreign_key="account.id", index=True)
    worker_id: str = Field(foreign_key="worker.id", index=True)
    build_uuid: str | None = None
    request: dict[str, Any] = json_column(dict)
    created_on: int = time_column(index=True)


class Version(SQLModel, table=True):
    """An immutable upload. `digest` is the SHA-256 of its manifest, which lies in the blob store."""

    __tablename__ = "version"
    __table_args__ = (UniqueConstraint("worker_id", "number"),)

    id: str = Field(primary_key=True)
    account_id: str = Field(foreign_key="account.id", index=True)
    worker_id: str = Field(foreign_key="worker.id", index=True)
    number: int
    kind: str
    digest: str
    file_count: int
    byte_count: int = Field(sa_type=BigInteger)
    commit_hash: str | None = None
    branch: str | None = None
    message: str = ""
    author: str = ""
    build_uuid: str | None = Field(default=None, index=True)
    #: what its instances are given, each encrypted, by name
    secrets: dict[str, str] = added_json_column()
    created_on: int = time_column()


class Deployment(SQLModel, table=True):
    """Which versions serve a worker; the newest that is `active` counts.

    `starting`: instances of its versions do not answer yet; `node` is the one that starts them. `failed`: one
    did not start; `failure` tells why.
    """

    __tablename__ = "deployment"
    __table_args__ = (
        Index("deployment_starting", "id", sqlite_where=IS_STARTING, postgresql_where=IS_STARTING),
    )

    id: int | None = Field(default=None, primary_key=True)
    uuid: str = Field(unique=True)
    account_id: str = Field(foreign_key="account.id", index=True)
    worker_id: str = Field(foreign_key="worker.id", index=True)
    #: shares of traffic: `[{"version_id": …, "percentage": 100}]`
    versions: list[dict[str, Any]] = json_column(list)
    state: str = Field(default="active", sa_column_kwargs={"server_default": "active"})
    failure: dict[str, Any] = added_json_column()
    node: str = Field(default="", sa_column_kwargs={"server_default": ""})
    source: str
    message: str = ""
    author: str = ""
    created_on: int = time_column()


class WorkerSecret(SQLModel, table=True):
    """A secret that versions uploaded from now on are given; encrypted."""

    __tablename__ = "worker_secret"

    worker_id: str = Field(primary_key=True, foreign_key="worker.id")
    name: str = Field(primary_key=True)
    account_id: str = Field(foreign_key="account.id", index=True)
    value: str
    modified_on: int = time_column()


class WorkerLog(SQLModel, table=True):
    """Which parts of a worker's log a node keeps: `first` to `last`, of which the last grows."""

    __tablename__ = "worker_log"

    worker_id: str = Field(primary_key=True, foreign_key="worker.id")
    node: str = Field(primary_key=True)
    first: int
    last: int


class PlacementMemory(SQLModel, table=True):
    """What a location knows of where a worker's requests are answered fastest: small, and replaced whole."""

    __tablename__ = "placement_memory"

    worker_id: str = Field(primary_key=True, foreign_key="worker.id")
    location: str = Field(primary_key=True)
    #: what it was learnt of; empty while traffic was split
    version_id: str
    #: the policy's own
    state: dict[str, Any] = json_column(dict)
    #: why its requests run where they run, for whoever asks another node
    explanation: list[dict[str, Any]] = json_column(list)
    modified_on: int = time_column()


class MeasuredWay(SQLModel, table=True):
    """The round-trip time from a location to another one, or to a back end, when it was last measured."""

    __tablename__ = "measured_way"

    source: str = Field(primary_key=True)
    target: str = Field(primary_key=True)
    rtt_ms: float
    modified_on: int = time_column(index=True)


class PreviewAlias(SQLModel, table=True):
    """A name under which a version that is not in production can be seen."""

    __tablename__ = "preview_alias"

    worker_id: str = Field(primary_key=True, foreign_key="worker.id")
    alias: str = Field(primary_key=True)
    account_id: str = Field(foreign_key="account.id", index=True)
    version_id: str = Field(foreign_key="version.id")
    created_on: int = time_column()
    modified_on: int = time_column()
