"""The nodes of a cluster, and the logs that grow in it."""

# SQLModel declares __tablename__ as a function, which pyright will not let a text replace.
# pyright: reportAssignmentType=false

from sqlalchemy import BigInteger, LargeBinary
from sqlmodel import Field, SQLModel

from kedge.db.tables.columns import time_column


class NodeRow(SQLModel, table=True):
    """A node that shares this database. Its moments are the database's own, so clocks need not agree."""

    __tablename__ = "node"

    name: str = Field(primary_key=True)
    location: str
    region: str | None = None
    #: where the others reach it
    url: str
    #: the backend that runs its builds
    compute: str
    #: processes that wait for or use a processor, for each of its processors
    load: float
    #: how long a transaction from there takes that does nothing
    database_ms: float | None = None
    started_on: int = time_column()
    seen_on: int = time_column()


class HotLog(SQLModel, table=True):
    """How much there is of a log that has not gone to the blob store yet.

    The head ends at `head_end`; what was dropped behind it ends at `gap_end`. Both are 0 while nothing
    needs to go.
    """

    __tablename__ = "hot_log"

    log_id: str = Field(primary_key=True)
    part: int = Field(primary_key=True)
    #: the node that began it
    node: str
    size: int = Field(default=0, sa_type=BigInteger)
    next_number: int = 0
    head_end: int = Field(default=0, sa_type=BigInteger)
    gap_end: int = Field(default=0, sa_type=BigInteger)
    sealed: bool = False


class HotChunk(SQLModel, table=True):
    """A chunk of such a log, as an opaque frame of the log store."""

    __tablename__ = "hot_chunk"

    log_id: str = Field(primary_key=True)
    part: int = Field(primary_key=True)
    number: int = Field(primary_key=True)
    #: of its first byte in the whole log
    position: int = Field(sa_type=BigInteger)
    #: of its bytes in the log, not of the frame
    size: int
    time_ms: int = time_column()
    frame: bytes = Field(sa_type=LargeBinary)
