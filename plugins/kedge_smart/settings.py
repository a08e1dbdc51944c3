"""What can be set."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class SmartSettings(BaseModel):
    """`[requests.smart]`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    baseline: float = Field(
        default=0.01, ge=0, le=0.5, description="Share of requests that stay unplaced, to compare with."
    )
    min_invocations: int = Field(
        default=100, ge=10, description="Invocations of a route before anything is decided for it."
    )
    margin: float = Field(
        default=0.05, gt=0, lt=1, description="A place must be this much faster than where requests run now."
    )
    refine_margin: float = Field(
        default=0.02, gt=0, lt=1, description="As margin, once the present place is well known."
    )
    min_gain_ms: float = Field(default=1.0, ge=0, description="Gains smaller than this are not worth a move.")
    dwell_seconds: float = Field(
        default=600.0, ge=0, description="Time between two moves of a route, unless its location fails."
    )
    refine_seconds: float = Field(
        default=12 * 3600.0, ge=0, description="Time between two moves that gain less than a tenth."
    )
    same_from_everywhere_ms: float = Field(
        default=10.0,
        ge=0,
        description="A back end whose round-trip times differ by less than this between all locations is "
        "taken for a globally distributed service, and does not count.",
    )
    most_entries: int = Field(
        default=12,
        ge=1,
        le=1000,
        description="Pairs of route and location of visitors that are watched for each worker. A node sees "
        "those of its own location: more is of use only to what plays several nodes, as a simulator does.",
    )
    exclude: tuple[str, ...] = Field(
        default=(), description="More hosts that do not count; `*.example.com` means all below it."
    )
