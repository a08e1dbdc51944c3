"""Build variables."""

from __future__ import annotations

# pydantic takes no other before Python 3.12
from typing_extensions import TypedDict


class VariableShape(TypedDict):
    """A build variable; the value of a secret is null."""

    is_secret: bool
    value: str | None
    created_on: str | None
