"""Columns that many tables share."""

from typing import Any

from sqlalchemy import JSON, BigInteger
from sqlmodel import Field


def time_column(*, index: bool = False) -> Any:
    """A required moment, in milliseconds since 1970."""
    return Field(sa_type=BigInteger, index=index)


def optional_time_column() -> Any:
    """A moment that may not have come yet."""
    return Field(default=None, sa_type=BigInteger, nullable=True)


def json_column(default: type[list[Any]] | type[dict[str, Any]]) -> Any:
    """A small JSON value, replaced whole."""
    return Field(default_factory=default, sa_type=JSON)


def added_json_column() -> Any:
    """A small JSON object that a later version of Kedge added: rows of before have an empty one."""
    return Field(default_factory=dict, sa_type=JSON, sa_column_kwargs={"server_default": "{}"})
