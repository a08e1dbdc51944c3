"""What the very first start makes: the account `default` and a token for it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from sqlmodel import select

from kedge.db.clock import now_ms
from kedge.db.tables import Account, ApiToken
from kedge.node.data_dir import write_private
from kedge.tokens import hash_token, new_token

if TYPE_CHECKING:
    from pathlib import Path

    from sqlmodel import Session

    from kedge.db.engine import Database

DEFAULT_ACCOUNT = "default"
TOKEN_FILE = "admin.token"  # noqa: S105  (a file name)


async def ensure_admin(db: Database, data_dir: Path) -> None:
    """Make the account and its token file unless both are there; a lost file gets a new token."""
    path = data_dir / TOKEN_FILE
    token = new_token("admin")
    if await db.write(_ensure, hash_token(token), replace=not path.exists()):
        write_private(path, token + "\n")


def _ensure(session: Session, token_hash: str, *, replace: bool) -> bool:
    account = session.exec(select(Account).where(Account.name == DEFAULT_ACCOUNT)).one_or_none()
    if account is None:
        account = Account(id=uuid4().hex, name=DEFAULT_ACCOUNT, created_on=now_ms())
        session.add(account)
        session.flush()
    elif not replace:
        return False
    session.add(
        ApiToken(
            id=str(uuid4()),
            account_id=account.id,
            name="admin",
            token_hash=token_hash,
            created_on=now_ms(),
        )
    )
    return True
