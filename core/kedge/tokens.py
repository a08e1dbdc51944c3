"""Bearer tokens: 256 random bits, shown once, kept as their SHA-256."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets


def new_token(kind: str) -> str:
    """A fresh token; `kind` is a prefix that tells people (and secret scanners) what they found."""
    return f"kedge_{kind}_{secrets.token_urlsafe(32)}"


def hash_token(token: str) -> str:
    """What the database keeps. Plain SHA-256 will do: a random token cannot be guessed from its hash."""
    return hashlib.sha256(token.encode()).hexdigest()


def derive_token(token: str, kind: str) -> str:
    """The lesser token that goes with `token`; nothing about `token` can be learned from it."""
    digest = hmac.digest(token.encode(), kind.encode(), "sha256")
    return f"kedge_{kind}_{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"
