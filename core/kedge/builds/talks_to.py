"""What builds that wait will talk to, as far as Kedge can tell before they run."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sqlalchemy import bindparam
from sqlmodel import col, select

from kedge.db.tables import TriggerVariable
from kedge.errors import KedgeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlmodel import Session

    from kedge.contracts.blobs import BlobStore
    from kedge.contracts.forge import Forge
    from kedge.db.queries.queue import Waiting
    from kedge.secrets import SecretBox

#: about so many round trips a build waits for: a clone, packages one after the other, caches and files
CLONE, PACKAGES, STORE = 8.0, 40.0, 20.0
#: variables by which package managers are told of another registry than their own
REGISTRIES = (
    "NPM_CONFIG_REGISTRY",
    "PIP_INDEX_URL",
    "UV_DEFAULT_INDEX",
    "UV_INDEX_URL",
    "YARN_NPM_REGISTRY_SERVER",
    "npm_config_registry",
)
REGISTRY_URLS: Any = select(col(TriggerVariable.trigger_uuid), col(TriggerVariable.value)).where(
    col(TriggerVariable.trigger_uuid).in_(bindparam("triggers", expanding=True)),
    col(TriggerVariable.key).in_(REGISTRIES),
)
PORTS = {"http": 80, "https": 443, "ssh": 22}


class TalksTo:
    """Their repository's host, the registry that their variables name, and the blob store.

    Public registries are near to everybody, and so are not among it.
    """

    def __init__(self, forges: Mapping[str, Forge], secrets: SecretBox) -> None:
        """The store is not known yet."""
        self._forges = forges
        self._secrets = secrets
        self._store: str | None = None

    async def find_store(self, blobs: BlobStore) -> None:
        """Learn from what it presigns where the blob store is; files of a disk are nowhere."""
        with suppress(KedgeError):
            asked = await blobs.presign("address", "GET", expires=timedelta(minutes=1))
            self._store = None if asked is None else address_of(asked.url)

    def of(self, session: Session, waiting: Iterable[Waiting]) -> dict[int, dict[str, float]]:
        """Build's id → `HOST:PORT` → round trips. Called in a thread of the database."""
        builds = list(waiting)
        registries: dict[str, list[str]] = {}
        for trigger, value in session.execute(REGISTRY_URLS, {"triggers": {one.trigger for one in builds}}):
            if (address := self._registry(value)) is not None:
                registries.setdefault(trigger, []).append(address)
        return {one.build_id: self._of(one, registries.get(one.trigger, [])) for one in builds}

    def _of(self, build: Waiting, registries: list[str]) -> dict[str, float]:
        trips = dict.fromkeys(registries, PACKAGES)
        forge = self._forges.get(build.forge)
        cloned_from = None if forge is None else forge.clone_address
        for address, more in ((cloned_from, CLONE), (self._store, STORE)):
            if address is not None:
                trips[address] = trips.get(address, 0.0) + more
        return trips

    def _registry(self, value: bytes) -> str | None:
        try:
            return address_of(self._secrets.decrypt(value))
        except KedgeError:
            return None


def address_of(url: str) -> str | None:
    """`HOST:PORT` of a URL, and nothing else of it; `None` if it has none."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port or PORTS.get(parts.scheme)
    except ValueError:
        return None
    if not parts.hostname or port is None:
        return None
    return f"[{parts.hostname}]:{port}" if ":" in parts.hostname else f"{parts.hostname}:{port}"
