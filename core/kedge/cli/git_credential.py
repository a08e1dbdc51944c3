"""`kedge git-credential`: answers git's question for a name and a password."""

from __future__ import annotations

import sys
from typing import Annotated
from urllib.parse import urlsplit

import typer

from kedge.cli.with_server import with_server
from kedge.client import Server

NAME = "token"


@with_server
def git_credential(
    server: Server, operation: Annotated[str, typer.Argument(help="What git wants: get, store or erase.")]
) -> None:
    """Give git your API token for pushes to Kedge, and to nobody else.

    `git config --global credential.URL.helper '!kedge git-credential'` makes git ask.
    """
    if operation != "get":
        return
    at = urlsplit(server.url)
    if {f"protocol={at.scheme}", f"host={at.netloc}"} <= set(sys.stdin.read().splitlines()):
        sys.stdout.write(f"username={NAME}\npassword={server.token}\n")
