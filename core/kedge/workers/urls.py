"""Where deployed workers are reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from kedge.workers.previews import PREFIX_LENGTH

if TYPE_CHECKING:
    from kedge.db.queries.deployments import Whereabouts


def worker_url(public_url: str, domain: str, name: str) -> str:
    """The URL of `name` (a worker, or `alias-worker`) with the scheme and port of the public URL."""
    public = urlsplit(public_url)
    port = "" if public.port is None else f":{public.port}"
    return f"{public.scheme}://{name}.{domain}{port}/"


@dataclass(frozen=True, kw_only=True)
class WorkerUrls:
    """Makes the URLs of one installation. `place` is `worker`, or `worker.account` where names collide."""

    public_url: str
    domain: str

    def production(self, place: str) -> str:
        """Where the current deployment is served."""
        return worker_url(self.public_url, self.domain, place)

    def version(self, place: str, version_id: str) -> str:
        """Where one version is always served."""
        return worker_url(self.public_url, self.domain, f"{version_id[:PREFIX_LENGTH]}-{place}")

    def alias(self, place: str, alias: str) -> str:
        """Where the newest version under an alias is served."""
        return worker_url(self.public_url, self.domain, f"{alias}-{place}")

    def best(self, at: Whereabouts) -> str:
        """Where to look at a version: in production, under its alias, or by itself."""
        if at.live:
            return self.production(at.place)
        if at.alias is not None:
            return self.alias(at.place, at.alias)
        return self.version(at.place, at.version_id)
