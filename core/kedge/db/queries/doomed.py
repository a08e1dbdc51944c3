"""Blobs that are being deleted, and when a store was last cleared."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from sqlalchemy import delete, update
from sqlmodel import col, or_, select

from kedge.db.tables import Cleaning, DoomedBlob
from kedge.db.upsert import upsert

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from sqlmodel import Session


def add(session: Session, keys: Iterable[str], *, store: str, node: str, now: int) -> list[str]:
    """Doom those that are not doomed already, and return them."""
    keys = list(keys)
    others = among(session, store, keys)
    fresh = [key for key in keys if key not in others]
    session.add_all(DoomedBlob(store=store, key=key, node=node, doomed_on=now) for key in fresh)
    return fresh


def among(session: Session, store: str, keys: Collection[str]) -> dict[str, int]:
    """Which of `keys` are doomed, and since when. There are never many: it is asked for all."""
    query = select(DoomedBlob.key, DoomedBlob.doomed_on).where(DoomedBlob.store == store)
    wanted = set(keys)
    return {key: doomed_on for key, doomed_on in session.exec(query) if key in wanted}


def take_over(
    session: Session, store: str, *, node: str, own_before: int, before: int, now: int
) -> Sequence[str]:
    """Let `node` delete what it had doomed before one moment, and what any had before another."""
    own = (col(DoomedBlob.node) == node) & (col(DoomedBlob.doomed_on) < own_before)
    taken = session.execute(
        update(DoomedBlob)
        .where(col(DoomedBlob.store) == store, or_(own, col(DoomedBlob.doomed_on) < before))
        .values(node=node, doomed_on=now)
        .returning(col(DoomedBlob.key))
    )
    return taken.scalars().all()


def forget(session: Session, store: str, keys: Collection[str]) -> None:
    """They are gone from the store, or stay there."""
    session.execute(delete(DoomedBlob).where(col(DoomedBlob.store) == store, col(DoomedBlob.key).in_(keys)))


def owner(session: Session, store: str) -> str:
    """The name by which this database is known in the store."""
    return _cleaning(session, store).owner


def begin_cleaning(session: Session, store: str, *, now: int, last_before: int) -> bool:
    """Whether it is time, and the caller is the one to do it."""
    found = _cleaning(session, store)
    if found.begun_on >= last_before:
        return False
    found.begun_on = now
    return True


def _cleaning(session: Session, store: str) -> Cleaning:
    query = select(Cleaning).where(Cleaning.store == store).with_for_update()
    found = session.exec(query).one_or_none()
    if found is not None:
        return found
    # Of several nodes that begin it at once, one makes the row.
    upsert(session, Cleaning, {"store": store, "owner": str(uuid4()), "begun_on": 0}, change={"store"})
    return session.exec(query).one()
