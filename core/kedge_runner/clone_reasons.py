"""Why git could not get a commit, told by what it said."""

from __future__ import annotations

GONE = "the commit is gone: its branch was moved or deleted after the push. Push again"
MISSING = "the repository does not exist, or Kedge may not know of it. Check the repo connection"
FORBIDDEN = "the repository refused Kedge's credentials. Renew the repo connection"
NETWORK = "the repository's host cannot be reached. Check its URL and the network, then retry"
FULL = "the disk is full where builds run. Free some space, then retry"
UNKNOWN = "git could not get the commit; what it said is above"

#: the first sign that is found tells the reason
SIGNS = (
    ("no space left", FULL),
    ("disk quota exceeded", FULL),
    ("not our ref", GONE),
    ("couldn't find remote ref", GONE),
    ("reference is not a tree", GONE),
    ("unable to read tree", GONE),
    ("unadvertised object", GONE),
    ("authentication failed", FORBIDDEN),
    ("could not read username", FORBIDDEN),
    ("could not read password", FORBIDDEN),
    ("invalid username", FORBIDDEN),
    ("permission denied", FORBIDDEN),
    ("error: 401", FORBIDDEN),
    ("error: 403", FORBIDDEN),
    ("does not appear to be a git repository", MISSING),
    ("does not exist", MISSING),
    ("not found", MISSING),
    ("error: 404", MISSING),
    ("could not resolve", NETWORK),
    ("failed to connect", NETWORK),
    ("couldn't connect", NETWORK),
    ("connection", NETWORK),
    ("timed out", NETWORK),
    ("early eof", NETWORK),
    ("hung up", NETWORK),
    ("rpc failed", NETWORK),
    ("too slow", NETWORK),
    ("error: 5", NETWORK),
    ("error: 429", NETWORK),
)


def reason_of(said: str) -> str:
    """A sentence that tells what to do."""
    lowered = said.lower()
    return next((reason for sign, reason in SIGNS if sign in lowered), UNKNOWN)
