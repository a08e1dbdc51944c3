"""A build, its attempts, and the delivery that caused it."""

# SQLModel declares __tablename__ as a function, which pyright will not let a text replace.
# pyright: reportAssignmentType=false

from typing import Any

from sqlalchemy import JSON, BigInteger, Index, Integer, text, true
from sqlmodel import Field, SQLModel

from kedge.build_states import Status
from kedge.db.tables.columns import json_column, optional_time_column, time_column

NOT_STOPPED = text("status != 'stopped'")
OF_A_HOOK = text("deploy_hook IS NOT NULL")
#: SQLite's INTEGER holds a moment too, and tables of before have it
ENDED_ON: Any = BigInteger().with_variant(Integer(), "sqlite")


class Delivery(SQLModel, table=True):
    """A webhook call or `git push` that was taken in; its key makes a repeated one harmless."""

    __tablename__ = "delivery"

    forge: str = Field(primary_key=True)
    delivery_id: str = Field(primary_key=True)
    received_on: int = time_column(index=True)


class Build(SQLModel, table=True):
    """One commit of one worker, from queued to stopped.

    `attempt` numbers the latest attempt, 0 before the first. While the build waits for its turn
    `claimed_on` is null.
    """

    __tablename__ = "build"
    __table_args__ = (
        Index("build_live", "account_id", sqlite_where=NOT_STOPPED, postgresql_where=NOT_STOPPED),
        Index("build_of_worker", "worker_id", "id"),
        Index(
            "build_of_hook",
            *("account_id", "created_on"),
            sqlite_where=OF_A_HOOK,
            postgresql_where=OF_A_HOOK,
        ),
    )

    id: int | None = Field(default=None, primary_key=True)
    build_uuid: str = Field(unique=True)
    account_id: str = Field(foreign_key="account.id")
    worker_id: str = Field(foreign_key="worker.id")
    trigger_uuid: str = Field(foreign_key="build_trigger.uuid", index=True)
    forge: str
    delivery_id: str = Field(index=True)
    status: str = Status.QUEUED
    outcome: str | None = None
    source: str
    #: the name that the deploy hook had which asked for it
    deploy_hook: str | None = None
    branch: str
    commit_hash: str
    commit_message: str = ""
    author: str = ""
    is_production: bool
    #: whether somebody who may write to the repository caused it
    trusted: bool = Field(default=True, sa_column_kwargs={"server_default": true()})
    #: commands, repository and variable names as they were when the build was queued or retried
    snapshot: dict[str, Any] = json_column(dict)
    attempt: int = 0
    claimed_on: int | None = optional_time_column()
    infrastructure_retries: int = 0
    #: not before this moment: the back-off of a retry
    not_before: int = time_column()
    wait_reason: str | None = None
    cancel_requested: bool = False
    failure: str | None = None
    failure_message: str | None = None
    exit_code: int | None = None
    phases: list[dict[str, Any]] | None = Field(default=None, sa_type=JSON, nullable=True)
    version_id: str | None = None
    created_on: int = time_column()
    initializing_on: int | None = optional_time_column()
    running_on: int | None = optional_time_column()
    stopped_on: int | None = optional_time_column()
    modified_on: int = time_column()


class Attempt(SQLModel, table=True):
    """One try at a build. Its tokens, kept as hashes, are good until `ended_on`."""

    __tablename__ = "attempt"

    build_id: int = Field(primary_key=True, foreign_key="build.id")
    number: int = Field(primary_key=True)
    account_id: str = Field(foreign_key="account.id", index=True)
    build_uuid: str = Field(index=True)
    token_hash: str = Field(unique=True)
    deploy_token_hash: str = Field(unique=True)
    node: str
    compute: str
    location: str
    compute_id: str | None = None
    started_on: int = time_column()
    #: when its runner first reported in
    reported_on: int | None = optional_time_column()
    #: when it was last heard of, as a node of several last wrote it down
    heard_on: int | None = optional_time_column()
    ended_on: int | None = Field(default=None, sa_type=ENDED_ON, nullable=True, index=True)
