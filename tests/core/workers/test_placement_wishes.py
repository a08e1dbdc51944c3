"""What may be said of where requests run."""

from __future__ import annotations

from typing import Any

import pytest

from kedge.errors import InvalidInput
from kedge.workers.placement_wishes import check_placement


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({}, {}),
        ({"mode": "off"}, {}),
        ({"mode": "smart"}, {"mode": "smart"}),
        ({"mode": "smart", "hint": "wnam"}, {"mode": "smart", "hint": "wnam"}),
        ({"region": "aws:eu-central-1"}, {"mode": "targeted", "region": "aws:eu-central-1"}),
        ({"mode": "targeted", "host": "db.test:5432"}, {"mode": "targeted", "host": "db.test:5432"}),
        ({"hostname": "api.test"}, {"mode": "targeted", "hostname": "api.test"}),
        ({"mode": "off", "hostname": "api.test"}, {}),
        (
            {"mode": "smart", "status": "SUCCESS", "last_analyzed_at": "2026-01-01T00:00:00Z"},
            {"mode": "smart"},
        ),
        ({"target": [{"region": "aws:x"}]}, {"mode": "targeted", "region": "aws:x"}),
    ],
)
def test_a_wish_has_a_normal_form(given: dict[str, Any], kept: dict[str, Any]) -> None:
    assert check_placement(given) == kept
    assert check_placement(kept) == kept


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"region": "aws:x", "host": "a:1"}, "mutually exclusive. Only one can be specified"),
        ({"hint": "x", "region": "aws:x"}, "cannot be specified together"),
        ({"hint": "x"}, 'when "placement.mode" is "smart"'),
        ({"mode": "smart", "host": "a:1"}, 'must be "off" or "targeted"'),
        ({"mode": "targeted"}, "give a region, a host or a hostname"),
        ({"mode": "nearby"}, 'must be "off", "smart" or "targeted"'),
        ({"region": "frankfurt"}, "PROVIDER:REGION"),
        ({"host": "db.test"}, "NAME:PORT"),
        ({"hostname": "http://x"}, "name of a host"),
        ({"speed": "fast"}, "is not known"),
        ({"region": 3}, "is a text"),
        ({"target": "aws:x"}, "list of one object"),
        ({"target": []}, "list of one object"),
        ({"target": [{"region": "aws:x"}], "region": "aws:y"}, "cannot be specified together"),
    ],
)
def test_what_excludes_each_other_is_told(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        check_placement(given)
