"""`kedge deploy DIR` inside a build, where Kedge itself need not be installed."""

from __future__ import annotations

import os
import sys

from kedge_runner.deploy import DeployFailed, deploy_directory
from kedge_runner.errors import Refused

USAGE = "usage: kedge deploy [DIR] [--no-promote] [--message TEXT]"
NEEDED = ("KEDGE_URL", "KEDGE_TOKEN", "KEDGE_ACCOUNT", "KEDGE_WORKER")


def main() -> int:
    """Deploy as the environment says; return the exit code."""
    arguments = sys.argv[1:]
    if arguments[:1] != ["deploy"]:
        return _fail(f"inside a build only `kedge deploy` is there. {USAGE}")
    try:
        folder, options = parse(arguments[1:])
    except ValueError as error:
        return _fail(f"{error}. {USAGE}")
    if any(name not in os.environ for name in NEEDED):
        return _fail("`kedge deploy` works in the deploy command, which alone may deploy")
    try:
        result = _deploy(folder, options)
    except (DeployFailed, Refused, OSError, ValueError) as error:
        return _fail(str(error))
    print(f"Uploaded {result['uploaded']} of {result['files']} files as version {result['number']}")
    if result.get("reason"):
        print(f"It does not serve in production: {result['reason']}")
    print(result.get("alias_url") or result.get("url") or result.get("preview_url") or "")
    return 0


def parse(arguments: list[str]) -> tuple[str | None, dict[str, str]]:
    """The folder, if one is given, and the options. Raises `ValueError`."""
    folders: list[str] = []
    options: dict[str, str] = {}
    rest = iter(arguments)
    for argument in rest:
        name, equals, value = argument.partition("=")
        if argument == "--":
            folders.extend(rest)
        elif argument == "--no-promote":
            options[argument] = ""
        elif name == "--message":
            given = value if equals else next(rest, None)
            if given is None:
                raise ValueError("--message needs a text")
            options[name] = given
        elif argument.startswith("-"):
            raise ValueError(f"there is no option {argument}")
        else:
            folders.append(argument)
    if len(folders) > 1:
        raise ValueError("give one folder")
    return folders[0] if folders else None, options


def _deploy(folder: str | None, options: dict[str, str]) -> dict[str, object]:
    environ = os.environ
    preview = environ.get("KEDGE_PREVIEW_ALIAS")
    return deploy_directory(
        folder,
        url=environ["KEDGE_URL"],
        token=environ["KEDGE_TOKEN"],
        account=environ["KEDGE_ACCOUNT"],
        worker=environ["KEDGE_WORKER"],
        deploy=preview is None and "--no-promote" not in options,
        alias=preview or None,
        message=options.get("--message", ""),
        commit_hash=environ.get("KEDGE_CI_COMMIT_SHA"),
        branch=environ.get("KEDGE_CI_BRANCH"),
    )


def _fail(message: str) -> int:
    print(f"kedge: {message}", file=sys.stderr)
    return 1
