"""What ECS refuses beyond what its service model says."""

from __future__ import annotations

import json
import re
from typing import Any

STARTED_BY = re.compile(r"[A-Za-z0-9/_-]{1,128}")
CLIENT_TOKEN = re.compile(r"[!-~]{1,64}")
TAG_KEY, TAG_VALUE = re.compile(r"[\w +=.:/@-]{1,128}"), re.compile(r"[\w +=.:/@-]{0,256}")
MOST_TASKS, MOST_TAGS = 10, 50
#: characters, those of the JSON included
LONGEST_OVERRIDES = 8192


class Refused(Exception):
    """An error of the service: its code, and what it says."""

    def __init__(self, code: str, message: str, *, status: int = 400, **members: Any) -> None:
        """`members` are further members of the error."""
        super().__init__(message)
        self.code = code
        self.status = status
        self.members = members


def check_run(given: dict[str, Any]) -> None:
    """Hold a RunTask to the limits that the service's documentation tells. Raises `Refused`."""
    if not 1 <= given.get("count", 1) <= MOST_TASKS:
        raise _invalid(f"count must be from 1 to {MOST_TASKS}")
    if not STARTED_BY.fullmatch(given.get("startedBy", "-")):
        raise _invalid("startedBy has up to 128 letters, numbers, hyphens, slashes and underscores")
    if not CLIENT_TOKEN.fullmatch(given.get("clientToken", "-")):
        raise _invalid("clientToken has up to 64 characters")
    if len(json.dumps(given.get("overrides", {}))) > LONGEST_OVERRIDES:
        raise _invalid(f"Container Overrides length must be at most {LONGEST_OVERRIDES}")
    check_tags(given.get("tags", []))


def check_tags(tags: list[dict[str, str]]) -> None:
    """Hold tags to what any resource of AWS may have. Raises `Refused`."""
    keys = [tag["key"] for tag in tags]
    if len(tags) > MOST_TAGS or len(set(keys)) < len(keys):
        raise _invalid(f"a resource has up to {MOST_TAGS} tags, each with a key of its own")
    for tag in tags:
        key, value = tag["key"], tag.get("value", "")
        if not TAG_KEY.fullmatch(key) or not TAG_VALUE.fullmatch(value) or key.lower().startswith("aws:"):
            raise _invalid(f"{key!r} = {value!r} is no tag")


def _invalid(said: str) -> Refused:
    return Refused("InvalidParameterException", said)
