"""The kinds of classes that plugins register, each chosen by a section of the settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kedge.contracts.blobs import BlobStore
from kedge.contracts.compute import Compute
from kedge.contracts.forge import Forge
from kedge.contracts.log_store import LogStore
from kedge.contracts.placement import Placement
from kedge.contracts.request_placement import RequestPlacement
from kedge.contracts.runtime import Runtime

if TYPE_CHECKING:
    from kedge.config import Settings
    from kedge.config.settings import WithTables


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One seam whose implementation a config file chooses."""

    #: the section of the settings, and the key in it that holds the name or names
    section: str
    key: str
    hook: str
    contract: type[Any]
    #: what messages call it
    noun: str
    #: names that Kedge itself has and the node hands in
    reserved: frozenset[str] = frozenset()
    #: the section whose choice counts here too if nothing is chosen, where it names such a class
    follows: str = ""

    def tables(self, settings: Settings) -> WithTables:
        """The section."""
        section: WithTables = getattr(settings, self.section)
        return section

    def chosen(self, settings: Settings) -> tuple[str, ...]:
        """The names that the settings choose."""
        value: str | tuple[str, ...] | None = getattr(self.tables(settings), self.key)
        if value is None and self.follows:
            value = getattr(getattr(settings, self.follows), self.key)
        return (value,) if isinstance(value, str) else value or ()

    def is_left_open(self, settings: Settings) -> bool:
        """Whether nothing is chosen: then it is no mistake if there is no such class."""
        return getattr(self.tables(settings), self.key) is None


COMPUTE = Kind(
    section="compute", key="use", hook="kedge_register_compute", contract=Compute, noun="compute backend"
)
RUNTIME = Kind(
    section="runtime",
    key="use",
    hook="kedge_register_runtime",
    contract=Runtime,
    noun="runtime",
    follows="compute",
)
BLOBS = Kind(section="blobs", key="use", hook="kedge_register_blobs", contract=BlobStore, noun="blob store")
LOGS = Kind(section="logs", key="use", hook="kedge_register_log_store", contract=LogStore, noun="log store")
FORGES = Kind(section="forges", key="use", hook="kedge_register_forge", contract=Forge, noun="forge")
PLACEMENT = Kind(
    section="placement",
    key="chain",
    hook="kedge_register_placement",
    contract=Placement,
    noun="placement strategy",
    reserved=frozenset({"capacity"}),
)
REQUESTS = Kind(
    section="requests",
    key="use",
    hook="kedge_register_request_placement",
    contract=RequestPlacement,
    noun="request placement",
)
KINDS = (COMPUTE, RUNTIME, BLOBS, LOGS, FORGES, PLACEMENT, REQUESTS)
