"""`kedge plugins`: which hooks there are, and who implements them."""

from __future__ import annotations

import os

from kedge.cli.options import ConfigFile, Json
from kedge.cli.output import print_json, print_table


def plugins(config: ConfigFile = None, json: Json = False) -> None:
    """List every hook with its implementers, their distribution and version."""
    from kedge.placement.strategies import STRATEGIES  # noqa: PLC0415  (slow to import)
    from kedge.registry import load_and_register  # noqa: PLC0415

    _, registry = load_and_register(config, os.environ, {}, placements=STRATEGIES)
    described = registry.describe()
    if json:
        print_json(described)
        return
    rows = [
        (hook["name"], implementer["plugin"], implementer["distribution"], implementer["version"])
        for hook in described
        for implementer in hook["implementers"] or [{"plugin": "", "distribution": "", "version": ""}]
    ]
    print_table(("HOOK", "PLUGIN", "DISTRIBUTION", "VERSION"), rows, empty="")
