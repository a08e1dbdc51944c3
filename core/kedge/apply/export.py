"""Writes the file that `plan` would find nothing to do for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kedge.apply.present import PresentTrigger, PresentWorker, read_present

if TYPE_CHECKING:
    from kedge.client import Server


def export_workers(server: Server) -> str:
    """The account's workers as TOML. A secret becomes the reference `env:NAME`: its value never leaves.

    Only the triggers `production` and `preview` can be said in a file; others are named in a comment.
    """
    import tomlkit  # noqa: PLC0415  (only this writes TOML)

    document = tomlkit.document()
    tables = tomlkit.table(is_super_table=True)
    for name, worker in sorted(read_present(server).items()):
        table = tomlkit.item(_worker(worker))
        for other in worker.triggers.keys() - {"production", "preview"}:
            table.comment(f"trigger {other} cannot be written here")
        tables.add(name, table)
    document.add("workers", tables)
    return tomlkit.dumps(document)


def _worker(worker: PresentWorker) -> dict[str, Any]:
    production = worker.triggers.get("production")
    preview = worker.triggers.get("preview")
    first = production or preview
    if first is None:
        return {"previews": False}
    fields = first.fields
    values: dict[str, Any] = {
        "build": fields["build_command"],
        "deploy": fields["deploy_command"],
        "root": fields["root_directory"],
        "repo": worker.repository,
        "branch": fields["branch_includes"][0],
        "previews": preview is not None,
        "paths": {"include": fields["path_includes"], "exclude": fields["path_excludes"]},
    }
    if preview is not None:
        excludes = [one for one in preview.fields["branch_excludes"] if one != values["branch"]]
        values["branches"] = {"include": preview.fields["branch_includes"], "exclude": excludes}
        values["preview"] = _differences(preview, first)
    return values | {"variables": _variables(first)}


def _differences(preview: PresentTrigger, production: PresentTrigger) -> dict[str, Any]:
    different: dict[str, Any] = {
        name: preview.fields[field]
        for name, field in (("build", "build_command"), ("deploy", "deploy_command"))
        if preview.fields[field] != production.fields[field]
    }
    own = {
        key: value
        for key, value in _variables(preview).items()
        if preview.variables[key]["is_secret"] or production.variables.get(key) != preview.variables[key]
    }
    return different | ({"variables": own} if own else {})


def _variables(trigger: PresentTrigger) -> dict[str, Any]:
    return {
        key: {"secret": f"env:{key}"} if variable["is_secret"] else variable["value"]
        for key, variable in sorted(trigger.variables.items())
    }
