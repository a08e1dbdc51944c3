"""Values that clients spread over the fields of a form."""

from __future__ import annotations

from typing import Any

import pytest

from kedge.api.form_fields import gather
from kedge.errors import InvalidInput


@pytest.mark.parametrize(
    ("fields", "value"),
    [
        ([("s[a]", "1")], {"a": "1"}),
        ([("s[a][b]", "1"), ("s[a][c]", "2"), ("s[d]", "3")], {"a": {"b": "1", "c": "2"}, "d": "3"}),
        ([("s[]", "1"), ("s[]", "2")], ["1", "2"]),
        ([("s[a][]", "1"), ("s[a][]", "2")], {"a": ["1", "2"]}),
        ([("s[a][][x]", "1"), ("s[a][][y]", "2")], {"a": [{"x": "1", "y": "2"}]}),
        ([("s[a][][x]", "1"), ("s[a][][x]", "2")], {"a": [{"x": "1"}, {"x": "2"}]}),
    ],
)
def test_fields_are_put_together(fields: list[tuple[str, str]], value: Any) -> None:
    assert gather(fields) == value


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["s[a", "s[b]"], "is no name"),
        (["s[a]b"], "is no name"),
        (["s" + "[a]" * 9], "is no name"),
        (["s[a]", "s[a]"], "contradicts"),
        (["s[a]", "s[a][b]"], "contradicts"),
        (["s[a][b]", "s[a]"], "contradicts"),
        (["s[a][]", "s[a][b]"], "cannot have names too"),
    ],
)
def test_fields_that_contradict_each_other_are_refused(names: list[str], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        gather((name, "x") for name in names)
