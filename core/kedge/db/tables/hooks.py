"""Addresses that start a build."""

# SQLModel declares __tablename__ as a function, which pyright will not let a text replace.
# pyright: reportAssignmentType=false

from sqlalchemy import UniqueConstraint
from sqlmodel import Field, SQLModel

from kedge.db.tables.columns import optional_time_column, time_column


class DeployHook(SQLModel, table=True):
    """Starts builds of a worker's branch for whoever knows its UUID.

    It is found by the hash of its UUID; encrypted it is kept too, for the API shows it again.
    """

    __tablename__ = "deploy_hook"
    __table_args__ = (UniqueConstraint("worker_id", "name"),)

    uuid_hash: str = Field(primary_key=True)
    uuid_encrypted: bytes
    account_id: str = Field(foreign_key="account.id", index=True)
    worker_id: str = Field(foreign_key="worker.id")
    name: str
    branch: str
    created_on: int = time_column()
    modified_on: int = time_column()
    #: when the newest of its builds was queued
    latest_build_on: int | None = optional_time_column()
