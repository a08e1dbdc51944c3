"""Blobs on their way out, and who clears them away."""

# SQLModel declares __tablename__ as a function, which pyright will not let a text replace.
# pyright: reportAssignmentType=false

from sqlmodel import Field, SQLModel

from kedge.db.tables.columns import time_column


class DoomedBlob(SQLModel, table=True):
    """A blob that is being deleted: nobody relies on it or stores it again until this row is gone."""

    __tablename__ = "doomed_blob"

    #: empty for a store that all nodes share, else the name of the node whose it is
    store: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    #: that deletes it
    node: str
    doomed_on: int = time_column()


class Cleaning(SQLModel, table=True):
    """When a store was last cleared of what nothing needs."""

    __tablename__ = "cleaning"

    store: str = Field(primary_key=True)
    #: by which this database is known there
    owner: str
    begun_on: int = time_column()
