"""The Terraform module refers to what it has, gives the rights of the policies beside it, and plans clean."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hcl2
import pytest
from moto.server import ThreadedMotoServer

if TYPE_CHECKING:
    from collections.abc import Iterator

AWS = Path(__file__).parents[3] / "configs" / "aws"
FILES = sorted((AWS / "terraform").glob("*.tf"))
#: where a mirror of providers may be, which is a folder of folders named after registries
MIRRORS = (Path.home() / ".terraform.d/plugins", Path("/usr/local/share/terraform/plugins"))
PROVIDER = "registry.terraform.io/hashicorp/aws"
TEST_PROVIDER = """
provider "aws" {
  region                  = "eu-central-1"
  access_key              = "test"
  secret_key              = "test"
  skip_metadata_api_check = true
  endpoints {
    sts = "%s"
  }
}
"""
REFERENCE = re.compile(r"\b((?:data\.)?aws_[a-z0-9_]+\.[a-z_]+|var\.[a-z_]+|local\.[a-z_]+)")


def plain(name: str) -> str:
    return name.strip('"')


@cache
def parsed() -> list[dict[str, Any]]:
    return [hcl2.loads(file.read_text()) for file in FILES]


def blocks(kind: str) -> list[dict[str, Any]]:
    return [block for file in parsed() for block in file.get(kind, [])]


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


class Terraform:
    """A copy of the module that speaks to moto, and to nobody else."""

    def __init__(self, folder: Path, mirror: Path, aws: str) -> None:
        self._folder = folder
        for file in FILES:
            shutil.copy(file, folder)
        (folder / "test_override.tf").write_text(TEST_PROVIDER % aws)
        rc = folder / "terraform.rc"
        rc.write_text(f'provider_installation {{\n  filesystem_mirror {{\n    path = "{mirror}"\n  }}\n}}\n')
        self._environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "TF_CLI_CONFIG_FILE": str(rc)}
        self._environment |= {"CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1"}

    def __call__(self, *argv: str) -> str:
        done = subprocess.run(
            ["terraform", *argv],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def terraform(tmp_path: Path) -> Iterator[Terraform]:
    """Terraform with its provider, which no package of a distribution brings: it is used where it is."""
    mirrors = [mirror for mirror in (*MIRRORS, *Path("/opt").glob("*")) if (mirror / PROVIDER).is_dir()]
    if shutil.which("terraform") is None or not mirrors:
        pytest.skip(f"no terraform with a mirror of {PROVIDER} is installed")
    aws = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    aws.start()
    host, port = aws.get_host_and_port()
    yield Terraform(tmp_path, mirrors[0], f"http://{host}:{port}")
    aws.stop()


@pytest.mark.timeout(300)
def test_the_module_plans_clean(terraform: Terraform) -> None:
    terraform("fmt", "-check", "-diff")
    terraform("init", "-input=false", "-no-color")
    values = {"vpc_id": "vpc-1", "kedge_cidr": "203.0.113.7/32"}
    values["registry_secret"] = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:registry"

    given = [f"-var={name}={value}" for name, value in values.items()]
    said = terraform("plan", "-input=false", "-no-color", "-lock=false", *given)

    assert "Warning" not in said
    resources = sum(len(named) for block in blocks("resource") for named in block.values())
    assert f"Plan: {resources} to add, 0 to change, 0 to destroy." in said
    for block in blocks("output"):
        for name in block:
            assert f"+ {plain(name)} " in said
