"""The Terraform module parses, refers to what it has, and gives the rights of the policies beside it.

No Terraform can be had where these tests run: the module has not been planned.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import hcl2
import pytest

AWS = Path(__file__).parents[3] / "configs" / "aws"
FILES = sorted((AWS / "terraform").glob("*.tf"))
REFERENCE = re.compile(r"\b((?:data\.)?aws_[a-z0-9_]+\.[a-z_]+|var\.[a-z_]+|local\.[a-z_]+)")


def plain(name: str) -> str:
    return name.strip('"')


def blocks(kind: str) -> list[dict[str, Any]]:
    return [block for file in FILES for block in hcl2.loads(file.read_text()).get(kind, [])]


def declared() -> set[str]:
    names = {f"var.{plain(name)}" for block in blocks("variable") for name in block}
    names |= {f"local.{name}" for block in blocks("locals") for name in block}
    for kind, prefix in (("resource", ""), ("data", "data.")):
        for block in blocks(kind):
            names |= {f"{prefix}{plain(of)}.{plain(name)}" for of, named in block.items() for name in named}
    return names


def actions_of_document(name: str) -> set[str]:
    for block in blocks("data"):
        for named in block.values():
            for found, document in named.items():
                if plain(found) == name:
                    return {plain(one) for statement in document["statement"] for one in statement["actions"]}
    raise AssertionError(name)


def test_every_reference_is_to_something_declared() -> None:
    text = "\n".join(file.read_text() for file in FILES)
    used = set(REFERENCE.findall(text))
    assert used
    assert used <= declared()


def test_every_variable_is_used_and_described() -> None:
    text = "\n".join(file.read_text() for file in FILES)
    for block in blocks("variable"):
        for name, variable in block.items():
            assert variable["description"]
            assert f"var.{plain(name)}" in text


@pytest.mark.parametrize(
    ("document", "policy"), [("node", "kedge-node-policy.json"), ("execution", "kedge-execution-policy.json")]
)
def test_the_roles_have_the_rights_of_the_policies(document: str, policy: str) -> None:
    statements = json.loads((AWS / policy).read_text())["Statement"]
    assert actions_of_document(document) == {one for statement in statements for one in statement["Action"]}
