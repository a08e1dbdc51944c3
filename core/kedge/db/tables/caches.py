"""What builds keep for the next ones."""

# SQLModel declares __tablename__ as a function, which pyright will not let a text replace.
# pyright: reportAssignmentType=false

from sqlalchemy import BigInteger
from sqlmodel import Field, SQLModel

from kedge.db.tables.columns import time_column


class CacheArchive(SQLModel, table=True):
    """The packed content of a cache, in the blob store. Never changed once it is `stored`.

    From `uploading` it becomes `stored`; a `doomed` one is never given out again, and on its way out.
    """

    __tablename__ = "cache_archive"

    id: str = Field(primary_key=True)
    account_id: str = Field(foreign_key="account.id", index=True)
    worker_id: str = Field(foreign_key="worker.id", index=True)
    build_uuid: str = Field(index=True)
    #: what the entry will be, once the bytes are there
    branch: str
    name: str
    version: str
    key: str
    state: str = "uploading"
    #: the store's name for an upload in parts; until that is joined, `size` is what was signed of it
    upload: str = Field(default="", sa_column_kwargs={"server_default": ""})
    size: int = Field(default=0, sa_type=BigInteger)
    sha256: str = ""
    #: of the tree that was packed: names, rights, links and bytes
    fingerprint: str = ""
    tree_bytes: int = Field(default=0, sa_type=BigInteger)
    file_count: int = 0
    created_on: int = time_column()
    read_on: int = time_column(index=True)


class CacheEntry(SQLModel, table=True):
    """A key by which an archive is found. Only trusted builds make them, each for its own branch."""

    __tablename__ = "cache_entry"

    worker_id: str = Field(primary_key=True, foreign_key="worker.id")
    branch: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    version: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    account_id: str = Field(foreign_key="account.id", index=True)
    archive_id: str = Field(foreign_key="cache_archive.id", index=True)
    created_on: int = time_column()
