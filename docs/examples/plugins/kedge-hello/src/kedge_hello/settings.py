"""`[compute.hello]`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class HelloSettings(BaseModel):
    """Frozen, and a misspelt key is a mistake: Kedge tells it with file, line and the nearest known key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_attempts: int = Field(default=16, ge=1, description="Builds that run at once on this node.")
