"""What the config file may say under `[forges.git]`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from kedge import AbsolutePath, Duration, Size


class GitSettings(BaseModel):
    """Settings of the forge `git`."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    folder: AbsolutePath | None = Field(
        default=None,
        description="Where repositories lie, if not in the data dir: a folder that every node mounts.",
    )
    max_push: Size = Field(default=1 << 30, ge=1, description="A larger push is refused.")
    follow: bool = Field(
        default=True, description="Whether a push shows the log of the builds that it starts."
    )
    concurrency: PositiveInt = Field(
        default=32,
        description="Git requests that read, worked on at a time; of one token or build, half of them.",
    )
    pushes: PositiveInt = Field(
        default=16, description="Git requests that push, worked on at a time; of one token, half of them."
    )
    slot_within: Duration = Field(
        default=30.0, gt=0, description="How long a request waits for its turn before it is refused."
    )
    followers: PositiveInt = Field(
        default=64, description="Pushes that show a log at a time; others are told the build's id only."
    )
