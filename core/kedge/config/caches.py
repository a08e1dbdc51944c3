"""A cache as a file or a trigger declares it."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from kedge.config.wording import NO_CONTROLS, SHORT_NAME

Name = Annotated[str, StringConstraints(pattern=SHORT_NAME)]
Path = Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=NO_CONTROLS)]
Key = Annotated[str, StringConstraints(min_length=1, max_length=512, pattern=NO_CONTROLS)]


class CacheSpec(BaseModel):
    """Folders that builds keep for the next ones, and the key they are kept under."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: Name = Field(description="Tells one cache from another.")
    paths: Annotated[tuple[Path, ...], Field(min_length=1, max_length=32)] = Field(
        description="Folders or files of the project, or of the home folder by `~/`."
    )
    key: Key | None = Field(
        default=None, description="May hold {hash:FILE}, {branch}, {commit}. The name, if not given."
    )
    restore_keys: Annotated[tuple[Key, ...], Field(max_length=10)] = Field(
        default=(), description="Beginnings of keys that will do where there is none of that key."
    )


Caches = Annotated[tuple[CacheSpec, ...], Field(max_length=20)]
