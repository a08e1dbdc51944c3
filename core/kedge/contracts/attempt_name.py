"""Which attempt of which build."""

from __future__ import annotations

import re
from dataclasses import dataclass

from kedge.contracts.log_store import LogKey
from kedge.errors import StartRefused

ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,127}", re.ASCII)
NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class AttemptName:
    """Names an attempt; made by `of` or `read` its text may name a file, a container or a service."""

    build_uuid: str
    number: int

    def __str__(self) -> str:
        """The build's id and the number of the attempt."""
        return f"{self.build_uuid}-{self.number}"

    @property
    def log(self) -> LogKey:
        """What its log is kept under."""
        return LogKey(log_id=self.build_uuid, part=self.number)

    @classmethod
    def of(cls, build_uuid: str, number: int) -> AttemptName:
        """The name for an attempt. Raises `StartRefused` for an id that is none."""
        if not ID.fullmatch(build_uuid) or number < 0:
            raise StartRefused(f"{build_uuid!r} is not the id of a build")
        return cls(build_uuid=build_uuid, number=number)

    @classmethod
    def read(cls, build_uuid: str, number: str) -> AttemptName | None:
        """The attempt that a label tells; None for anything else."""
        if not ID.fullmatch(build_uuid) or not NUMBER.fullmatch(number):
            return None
        return cls(build_uuid=build_uuid, number=int(number))
