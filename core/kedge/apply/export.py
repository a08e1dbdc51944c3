"""Writes the file that `plan` would find nothing to do for."""

from __future__ import annotations

import re
from itertools import chain, count
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from kedge.apply.plan import FIELDS
from kedge.apply.present import PresentTrigger, PresentWorker, read_present
from kedge.config import WorkerSpec

if TYPE_CHECKING:
    from collections.abc import Collection

    from kedge.client import Server
    from kedge.config import TriggerSpec

PRODUCTION = "production"
NOT_IN_NAMES = re.compile("[^A-Za-z0-9]+")
#: of a trigger's uuid and a secret's key: the variable of the environment that is to hold the value
SecretNames = dict[tuple[str, str], str]


def export_workers(server: Server) -> str:
    """The account's workers as TOML. A secret becomes the reference `env:NAME`: its value never leaves.

    No two secrets share a name; a comment tells which there are. A worker that no file can describe, for the
    name of its repository perhaps, is named in a comment.
    """
    import tomlkit  # noqa: PLC0415  (only this writes TOML)

    document = tomlkit.document()
    tables = tomlkit.table(is_super_table=True)
    taken: list[str] = []
    for name, worker in sorted(read_present(server).items()):
        names = _secret_names(worker, taken)
        values = _worker(worker, names)
        if values is None:
            document.add(tomlkit.comment(f"worker {name} cannot be written here"))
        else:
            tables.add(name, tomlkit.item(values))
            taken += names.values()
    if taken:
        document.add(tomlkit.comment("The values of secrets are not here. `kedge apply` takes them from"))
        document.add(tomlkit.comment("variables of the environment, which have to be set:"))
    for name in taken:
        document.add(tomlkit.comment(f"  {name}"))
    document.add("workers", tables)
    return tomlkit.dumps(document)


def _secret_names(worker: PresentWorker, taken: Collection[str]) -> SecretNames:
    """Where the value of each secret is to be found: two of one name may have different values."""
    names: SecretNames = {}
    for trigger_name, trigger in sorted(worker.triggers.items()):
        owner = [worker.name] if trigger_name == PRODUCTION else [worker.name, trigger_name]
        for key in sorted(key for key, variable in trigger.variables.items() if variable["is_secret"]):
            wanted = NOT_IN_NAMES.sub("_", "_".join(owner)).upper() + f"_{key}"
            tries = chain([wanted], (f"{wanted}_{number}" for number in count(2)))
            others = {*taken, *names.values()}
            names[trigger.uuid, key] = next(name for name in tries if name not in others)
    return names


def _worker(worker: PresentWorker, names: SecretNames) -> dict[str, Any] | None:
    """The worker's table: production and previews where these say it all, else each trigger in full."""
    common: dict[str, Any] = {"repo": worker.repository} if worker.repository else {}
    if worker.hooks:
        common["hooks"] = {name: hook["branch"] for name, hook in worker.hooks.items()}
    in_full = {"trigger": {name: _trigger(one, names) for name, one in worker.triggers.items()}}
    for values in (_pair(worker, names), in_full):
        if values is not None and _says(common | values, worker):
            return common | values
    return None


def _pair(worker: PresentWorker, names: SecretNames) -> dict[str, Any] | None:
    production, preview = worker.triggers.get(PRODUCTION), worker.triggers.get("preview")
    if production is None:
        return None
    values: dict[str, Any] = {
        **_common(production, names),
        "branch": production.fields["branch_includes"][0],
        "previews": preview is not None,
    }
    if preview is not None:
        excludes = [one for one in preview.fields["branch_excludes"] if one != values["branch"]]
        values["branches"] = {"include": preview.fields["branch_includes"], "exclude": excludes}
        values["preview"] = _differences(preview, production, names)
    return values


def _trigger(trigger: PresentTrigger, names: SecretNames) -> dict[str, Any]:
    fields = trigger.fields
    branches = {"include": fields["branch_includes"], "exclude": fields["branch_excludes"]}
    return {**_common(trigger, names), "branches": branches}


def _common(trigger: PresentTrigger, names: SecretNames) -> dict[str, Any]:
    fields = trigger.fields
    return {
        "build": fields["build_command"],
        "deploy": fields["deploy_command"],
        "root": fields["root_directory"],
        "cache": fields["build_caching_enabled"],
        "caches": [_without_nothing(cache) for cache in fields["build_caches"]],
        "paths": {"include": fields["path_includes"], "exclude": fields["path_excludes"]},
        "variables": _variables(trigger, names),
    }


def _says(values: dict[str, Any], worker: PresentWorker) -> bool:
    """Whether a table can be loaded and means just what is."""
    try:
        meant = {trigger.name: trigger for trigger in WorkerSpec.model_validate(values).triggers()}
    except ValidationError:
        return False
    return meant.keys() == worker.triggers.keys() and all(
        _means(meant[name], trigger) for name, trigger in worker.triggers.items()
    )


def _means(spec: TriggerSpec, trigger: PresentTrigger) -> bool:
    fields = spec.model_dump(mode="json", include=set(FIELDS))
    said = {key: (one.is_secret, one.value) for key, one in spec.variables.items()}
    there = {key: (one["is_secret"], one["value"]) for key, one in trigger.variables.items()}
    return all(fields[name] == trigger.fields[name] for name in FIELDS) and said == there


def _without_nothing(cache: dict[str, Any]) -> dict[str, Any]:
    """TOML knows no null."""
    return {name: value for name, value in cache.items() if value}


def _differences(preview: PresentTrigger, production: PresentTrigger, names: SecretNames) -> dict[str, Any]:
    different: dict[str, Any] = {
        name: preview.fields[field]
        for name, field in (("build", "build_command"), ("deploy", "deploy_command"))
        if preview.fields[field] != production.fields[field]
    }
    own = {
        key: value
        for key, value in _variables(preview, names).items()
        if preview.variables[key]["is_secret"] or production.variables.get(key) != preview.variables[key]
    }
    return different | ({"variables": own} if own else {})


def _variables(trigger: PresentTrigger, names: SecretNames) -> dict[str, Any]:
    return {
        key: {"secret": f"env:{names[trigger.uuid, key]}"} if variable["is_secret"] else variable["value"]
        for key, variable in sorted(trigger.variables.items())
    }
