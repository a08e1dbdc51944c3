"""`kedge deploy DIR` inside a build, where Kedge itself need not be installed."""

from __future__ import annotations

import os
import sys

from kedge_runner.deploy import DeployFailed, deploy_directory
from kedge_runner.errors import Refused

USAGE = "usage: kedge deploy DIR [--no-promote] [--message TEXT]"
NEEDED = ("KEDGE_URL", "KEDGE_TOKEN", "KEDGE_ACCOUNT", "KEDGE_WORKER")


def main() -> int:
    """Deploy as the environment says; return the exit code."""
    arguments = sys.argv[1:]
    if arguments[:1] != ["deploy"]:
        return _fail("inside a build only `kedge deploy` is there. " + USAGE)
    try:
        folder, options = _parse(arguments[1:])
    except ValueError:
        return _fail(USAGE)
    if any(name not in os.environ for name in NEEDED):
        return _fail("`kedge deploy` works in the deploy command, which alone may deploy")
    try:
        result = _deploy(folder, options)
    except (DeployFailed, Refused, OSError) as error:
        return _fail(str(error))
    print(f"Uploaded {result['uploaded']} of {result['files']} files as version {result['number']}")
    if wished_live(options) and not result.get("live"):
        print("It is not live: a newer build has deployed already")
    print(result.get("alias_url") or result.get("url") or "")
    return 0


def wished_live(options: dict[str, str]) -> bool:
    """Whether the version shall serve in production."""
    return "KEDGE_PREVIEW_ALIAS" not in os.environ and "--no-promote" not in options


def _deploy(folder: str, options: dict[str, str]) -> dict[str, object]:
    environ = os.environ
    return deploy_directory(
        folder,
        url=environ["KEDGE_URL"],
        token=environ["KEDGE_TOKEN"],
        account=environ["KEDGE_ACCOUNT"],
        worker=environ["KEDGE_WORKER"],
        deploy=wished_live(options),
        alias=environ.get("KEDGE_PREVIEW_ALIAS") or None,
        message=options.get("--message", ""),
        commit_hash=environ.get("KEDGE_COMMIT_HASH"),
        branch=environ.get("KEDGE_BRANCH"),
    )


def _parse(arguments: list[str]) -> tuple[str, dict[str, str]]:
    folders, options = [], {}
    rest = iter(arguments)
    for argument in rest:
        if argument == "--no-promote":
            options[argument] = ""
        elif argument == "--message":
            options[argument] = next(rest, "")
        elif argument.startswith("-"):
            raise ValueError(argument)
        else:
            folders.append(argument)
    (folder,) = folders
    return folder, options


def _fail(message: str) -> int:
    print(f"kedge: {message}", file=sys.stderr)
    return 1
