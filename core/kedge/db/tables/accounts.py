"""Who uses Kedge."""

# SQLModel declares __tablename__ as a function, which pyright will not let a text replace.
# pyright: reportAssignmentType=false

from sqlmodel import Field, SQLModel

from kedge.db.tables.columns import optional_time_column, time_column


class Account(SQLModel, table=True):
    """Owns workers, builds and tokens; the shard key of every other table."""

    __tablename__ = "account"

    id: str = Field(primary_key=True, max_length=32)
    name: str = Field(unique=True)
    created_on: int = time_column()


class ApiToken(SQLModel, table=True):
    """A bearer token, kept as the SHA-256 of its 256 random bits."""

    __tablename__ = "api_token"

    id: str = Field(primary_key=True)
    account_id: str = Field(foreign_key="account.id", index=True)
    name: str
    token_hash: str = Field(unique=True)
    can_write: bool = True
    created_on: int = time_column()
    revoked_on: int | None = optional_time_column()
