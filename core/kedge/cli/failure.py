"""How a command fails: one clear message on stderr, exit status 1."""

from __future__ import annotations


class CommandFailed(Exception):
    """The command could not do what it was asked; the message says what to do."""
