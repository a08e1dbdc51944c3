"""API tokens and build tokens of an account."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import update
from sqlmodel import col, select

from kedge.db.tables import ApiToken, BuildToken, Trigger
from kedge.errors import NotFound

if TYPE_CHECKING:
    from sqlmodel import Session


def add(session: Session, token: ApiToken | BuildToken) -> None:
    """Store a token."""
    session.add(token)


def api_tokens(session: Session, account_id: str) -> list[ApiToken]:
    """The account's API tokens, oldest first."""
    query = select(ApiToken).where(ApiToken.account_id == account_id).order_by(col(ApiToken.created_on))
    return list(session.exec(query))


def revoke_api_token(session: Session, account_id: str, token_id: str, now: int) -> None:
    """Make a token good for nothing. Raises `NotFound`."""
    token = session.get(ApiToken, token_id)
    if token is None or token.account_id != account_id:
        raise NotFound(f"there is no token {token_id[:80]!r}")
    token.revoked_on = token.revoked_on or now


def build_tokens(session: Session, account_id: str) -> list[BuildToken]:
    """The account's build tokens, oldest first."""
    query = select(BuildToken).where(BuildToken.account_id == account_id).order_by(col(BuildToken.created_on))
    return list(session.exec(query))


def delete_build_token(session: Session, account_id: str, uuid: str) -> None:
    """Forget a token; triggers that used it have none then. Raises `NotFound`."""
    token = session.get(BuildToken, uuid)
    if token is None or token.account_id != account_id:
        raise NotFound(f"there is no build token {uuid[:80]!r}")
    session.execute(
        update(Trigger).where(col(Trigger.build_token_uuid) == uuid).values(build_token_uuid=None)
    )
    session.delete(token)
