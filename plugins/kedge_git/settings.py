"""What the config file may say under `[forges.git]`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ByteSize, ConfigDict, PositiveInt


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError("must be an absolute path: nodes that share a folder may start anywhere")
    return path


class GitSettings(BaseModel):
    """Settings of the forge `git`."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    #: repositories lie here, if not in the data dir: a folder that every node mounts
    folder: Annotated[Path, AfterValidator(_absolute)] | None = None
    #: a larger push is refused
    max_push: ByteSize = ByteSize(1 << 30)
    #: whether a push shows the log of the builds that it starts
    follow: bool = True
    #: git requests that are worked on at a time; others wait
    concurrency: PositiveInt = 32
    #: pushes that show a log at a time; others are told the build's id only
    followers: PositiveInt = 64
