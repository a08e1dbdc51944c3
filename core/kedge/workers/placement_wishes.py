"""What a version may say of where its requests run; the rules and messages are those of Workers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from kedge.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping

TARGETS = ("region", "host", "hostname")
#: what is told of a placement besides: who sends back what was read does not mean to change it
TOLD = ("status", "last_analyzed_at")
REGION = re.compile(r"[a-z0-9]+:[a-z0-9-]+", re.ASCII)
HOST = re.compile(r"[A-Za-z0-9._-]+:\d{1,5}|\[[0-9A-Fa-f:.]+\]:\d{1,5}", re.ASCII)
HOSTNAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", re.ASCII)


def check_placement(given: Mapping[str, Any]) -> dict[str, Any]:
    """The wish in its normal form: `{}`, `{"mode": "smart", …}` or `{"mode": "targeted", …}`.

    Raises `InvalidInput` for what excludes each other.
    """
    given = _without_target({key: value for key, value in given.items() if key not in TOLD})
    _check_known(given)
    targets = [name for name in TARGETS if given.get(name)]
    mode, hint = given.get("mode"), given.get("hint")
    _check_together(targets, mode, hint)
    if targets and mode != "off":
        return {"mode": "targeted", targets[0]: _checked(targets[0], str(given[targets[0]]))}
    if mode == "smart":
        return {"mode": "smart", "hint": hint} if hint else {"mode": "smart"}
    return {}


def _without_target(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """The REST API may say `target: [{"region": …}]` for `region: …`."""
    if given.get("target") is None:
        return given
    target = given["target"]
    if not (isinstance(target, list) and len(target) == 1 and isinstance(target[0], dict)):
        raise InvalidInput(
            '"placement.target" is a list of one object, such as [{"region": "aws:eu-central-1"}].'
        )
    if twice := sorted(target[0].keys() & given.keys()):
        raise InvalidInput(f'"placement.target" and "placement.{twice[0]}" cannot be specified together.')
    return {**{key: value for key, value in given.items() if key != "target"}, **target[0]}


def _check_known(given: Mapping[str, Any]) -> None:
    if unknown := sorted(given.keys() - {"mode", "hint", *TARGETS}):
        raise InvalidInput(
            f'"placement.{unknown[0][:80]}" is not known; there are mode, hint, {", ".join(TARGETS)}.'
        )
    if not all(isinstance(value, str) or value is None for value in given.values()):
        raise InvalidInput('every value of "placement" is a text.')
    if given.get("mode") not in {None, "off", "smart", "targeted"}:
        raise InvalidInput('"placement.mode" must be "off", "smart" or "targeted".')


def _check_together(targets: list[str], mode: str | None, hint: str | None) -> None:
    if len(targets) > 1:
        named = " and ".join(f'"placement.{name}"' for name in targets)
        raise InvalidInput(f"{named} are mutually exclusive. Only one can be specified.")
    if hint and targets:
        raise InvalidInput(f'"placement.hint" and "placement.{targets[0]}" cannot be specified together.')
    if hint and mode != "smart":
        raise InvalidInput('"placement.hint" can only be specified when "placement.mode" is "smart".')
    if targets and mode not in {None, "off", "targeted"}:
        raise InvalidInput(f'with "placement.{targets[0]}" the "placement.mode" must be "off" or "targeted".')
    if mode == "targeted" and not targets:
        raise InvalidInput('"placement.mode" is "targeted": give a region, a host or a hostname.')


def _checked(name: str, value: str) -> str:
    if name == "region" and not REGION.fullmatch(value):
        raise InvalidInput(
            f'"placement.region" is PROVIDER:REGION, such as aws:eu-central-1, not {value[:80]!r}'
        )
    if name == "host" and not HOST.fullmatch(value):
        raise InvalidInput(f'"placement.host" is NAME:PORT, such as db.example.com:5432, not {value[:80]!r}')
    if name == "hostname" and not HOSTNAME.fullmatch(value):
        raise InvalidInput(f'"placement.hostname" is the name of a host, not {value[:80]!r}')
    return value
