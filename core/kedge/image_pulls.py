"""What the words of a failed image pull mean: containerd, Docker, ECS and registries have no codes for it."""

from __future__ import annotations

import re

#: the registry, or the way to it, is in trouble; these may stand beside words that would be final alone
_PASSES = re.compile(
    r"time ?out|timed out|deadline exceeded|too ?many ?requests|connection refused|reset by peer|unreachable|"
    r"no such host|server misbehaving|unexpected EOF|request canceled|RequestError|throttl|"
    r"\b(429|50[0234])\b",
    re.IGNORECASE,
)
_HOPELESS = re.compile(
    r"manifest unknown|name unknown|not found|does not exist|NotFound|can't find|unauthorized|denied|"
    r"no basic auth credentials|authentication required|not authorized|forbidden|invalid reference format|"
    r"no match(ing manifest)? for|does not contain descriptor matching|x509|HTTP response to HTTPS client",
    re.IGNORECASE,
)


def pull_is_hopeless(said: str) -> bool:
    """Whether pulling again would fail again: no such image, or no right to it. Else it may work later."""
    return not _PASSES.search(said) and bool(_HOPELESS.search(said))
