"""What a node has of other locations, made from its settings."""

from __future__ import annotations

import ssl
from functools import cache
from typing import TYPE_CHECKING

from kedge.errors import ConfigError
from kedge.placement.cluster_key import ClusterKey
from kedge.workers.egress.ledger import Ledger
from kedge.workers.egress.proxy import EgressProxy
from kedge.workers.egress.targets import Targets
from kedge.workers.places.exchange import Exchange
from kedge.workers.places.forwarding import Forwarding
from kedge.workers.places.memory import PlacementMemory
from kedge.workers.places.places import Places
from kedge.workers.places.placing import Placing
from kedge.workers.places.prober import Prober

if TYPE_CHECKING:
    from kedge.config import Settings
    from kedge.contracts.host import Host
    from kedge.db.engine import Database
    from kedge.placement.peers import Peers
    from kedge.registry import Registry
    from kedge.workers.relay.relay import Relay


def make_places(
    settings: Settings,
    registry: Registry,
    host: Host,
    relay: Relay,
    peers: Peers,
    *,
    db: Database,
    cluster_key: str | None,
) -> Places:
    """Nothing is opened or started yet. `cluster_key` is for nodes whose settings have none.

    Raises `ConfigError` for a cluster key of the settings that is not there.
    """
    here = settings.node.location
    targets = Targets(frozenset(settings.egress.allow), settings.egress.connect_to)
    ledger, prober = Ledger(), Prober(targets)
    policy = registry.build_request_placement(settings, host)
    key = exchange = forwarding = None
    if settings.node.cluster_key is not None:
        cluster_key = host.secret(settings.node.cluster_key)
    if cluster_key is not None:
        key = ClusterKey(cluster_key)
        requests = settings.requests
        exchange = Exchange(here, peers, key, prober, pause=requests.exchange, silence=requests.silence)
    placing = Placing(
        here,
        region=settings.node.region,
        peers=peers,
        exchange=exchange,
        policy=policy,
        prober=prober,
        ledger=ledger,
    )
    if key is not None and exchange is not None:
        forwarding = Forwarding(
            here, key, relay, presence=exchange.presence, moments=exchange.moments, lost=placing.lost
        )
    return Places(
        placing=placing,
        memory=PlacementMemory(db, placing),
        prober=prober,
        ledger=ledger,
        egress=None if policy is None else EgressProxy(ledger, targets),
        key=key,
        exchange=exchange,
        forwarding=forwarding,
        tls=peers.tls,
    )


@cache
def _trust_of_the_system() -> ssl.SSLContext:
    # to read all those certificates takes 20 ms
    return ssl.create_default_context()


def peers_tls(settings: Settings, host: Host) -> ssl.SSLContext:
    """Whom to believe that it is a node at an `https://` address.

    Raises `ConfigError` for certificates that are not there, or are none.
    """
    if settings.node.peers_ca is None:
        return _trust_of_the_system()
    try:
        return ssl.create_default_context(cadata=host.secret(settings.node.peers_ca))
    except ssl.SSLError as error:
        raise ConfigError([f"node.peers_ca: {settings.node.peers_ca} is no certificate in PEM"]) from error
