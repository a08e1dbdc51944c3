"""The key for stored secrets, and whether it is the one that the other nodes have."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from kedge.config import resolve_secret
from kedge.db.tables import ObjectValue
from kedge.errors import ConfigError
from kedge.secrets import SecretBox, SecretsUnreadable

if TYPE_CHECKING:
    from sqlmodel import Session

    from kedge.config import Settings
    from kedge.db.engine import Database

KEY = {"class_name": "SecretKey", "object_id": "cluster", "key": "proof"}
ANOTHER_KEY = (
    "this node's key for stored secrets is not the one of the other nodes of its database: give all of them "
    'the same, by server.secret_key = "file:PATH" or a copy of secret.key in each data dir'
)
WORDS = "the nodes of one database have one key"


def secret_box(settings: Settings) -> SecretBox:
    """The box of the configured key, or of the data dir's. Raises `ConfigError`."""
    ref = settings.server.secret_key
    if ref is None:
        return SecretBox.open(settings.server.data_dir / "secret.key")
    return SecretBox.of(resolve_secret(ref, settings.base_dir), name="server.secret_key")


async def check_secret_key(db: Database, secrets: SecretBox) -> None:
    """Raise `ConfigError` if what other nodes stored cannot be read with this node's key.

    The first node leaves a proof for the others; a key that was added on top renews it.
    """
    if not db.shared:
        return
    own = (await asyncio.to_thread(secrets.encrypt, WORDS)).decode()
    proof = await db.write(_leave_proof, own)
    try:
        await asyncio.to_thread(secrets.decrypt, proof.encode())
    except SecretsUnreadable:
        raise ConfigError([ANOTHER_KEY]) from None
    await db.write(_renew_proof, own)


def _leave_proof(session: Session, own: str) -> str:
    """The proof that is there, or from now on `own`."""
    row = session.get(ObjectValue, KEY)
    if row is not None:
        return str(row.value)
    session.add(ObjectValue(**KEY, value=own))
    return own


def _renew_proof(session: Session, own: str) -> None:
    session.get_one(ObjectValue, KEY).value = own
