"""The key for stored secrets, and the one by which nodes of one database know each other."""

from __future__ import annotations

import asyncio
import secrets as random
from typing import TYPE_CHECKING

from kedge.config import resolve_secret
from kedge.db.tables import ObjectValue
from kedge.errors import ConfigError
from kedge.secrets import SecretBox, SecretsUnreadable

if TYPE_CHECKING:
    from sqlmodel import Session

    from kedge.config import Settings
    from kedge.db.engine import Database

KEY = {"class_name": "SecretKey", "object_id": "cluster", "key": "cluster_key"}
ANOTHER_KEY = (
    "this node's key for stored secrets is not the one of the other nodes of its database: give all of them "
    'the same, by server.secret_key = "file:PATH" or a copy of secret.key in each data dir'
)


def secret_box(settings: Settings) -> SecretBox:
    """The box of the configured key, or of the data dir's. Raises `ConfigError`."""
    ref = settings.server.secret_key
    if ref is None:
        return SecretBox.open(settings.server.data_dir / "secret.key")
    return SecretBox.of(resolve_secret(ref, settings.base_dir), name="server.secret_key")


async def cluster_key(db: Database, secrets: SecretBox) -> str | None:
    """By which the nodes of this database know each other; `None` where a node has it for itself.

    The first node makes it up and stores it as the secrets are stored, for those who have their key; a
    key that was added on top renews that. Raises `ConfigError` if this node has not the key of the others.
    """
    if not db.shared:
        return None
    own = await asyncio.to_thread(secrets.encrypt, random.token_urlsafe(32))
    stored = await db.write(_leave, own.decode())
    try:
        found = await asyncio.to_thread(secrets.decrypt, stored.encode())
    except SecretsUnreadable:
        raise ConfigError([ANOTHER_KEY]) from None
    renewed = await asyncio.to_thread(secrets.encrypt, found)
    await db.write(_renew, renewed.decode())
    return found


def _leave(session: Session, own: str) -> str:
    """What is there, or from now on `own`."""
    row = session.get(ObjectValue, KEY)
    if row is not None:
        return str(row.value)
    session.add(ObjectValue(**KEY, value=own))
    return own


def _renew(session: Session, own: str) -> None:
    session.get_one(ObjectValue, KEY).value = own
