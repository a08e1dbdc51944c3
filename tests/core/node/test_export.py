"""What `kedge export` writes is what `kedge apply` finds nothing to do for, whatever there is."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kedge.apply import export_workers, plan
from kedge.config import load

if TYPE_CHECKING:
    from kedge.testing.node import RunningNode

names = st.sampled_from(["production", "preview", "release", "a b", 'qu"ote.d'])
branches = st.lists(st.sampled_from(["main", "*", "release/*", "dev"]), max_size=3, unique=True)
paths = st.lists(st.sampled_from(["*", "docs/*", "*.md"]), max_size=2, unique=True)
text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
variables = st.dictionaries(
    st.sampled_from(["A", "B", "C"]), st.builds(lambda value: {"is_secret": False, "value": value}, text)
)
caches = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["out", "tool.x"]),
            "paths": st.lists(st.sampled_from(["out", "~/.tool", "a b"]), min_size=1, max_size=2),
        },
        optional={
            "key": st.sampled_from(["out-{hash:lock}", 'q"{branch}']),
            "restore_keys": st.lists(st.sampled_from(["out-", "o"]), max_size=2),
        },
    ),
    max_size=2,
)
rules = st.fixed_dictionaries(
    {
        "build_command": text,
        "deploy_command": st.sampled_from(["", "kedge deploy dist"]),
        "root_directory": st.sampled_from(["/", "/site", "./a//b/"]),
        "branch_includes": branches.filter(bool),
        "branch_excludes": branches,
        "path_includes": paths,
        "path_excludes": paths,
        "build_caching_enabled": st.booleans(),
        "build_caches": caches,
    }
)
hooks = st.dictionaries(st.sampled_from(["cms", "every night"]), st.sampled_from(["main", "dev"]))


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(triggers=st.dictionaries(names, st.tuples(rules, variables), max_size=3), hooks=hooks)
def test_the_way_there_and_back_changes_nothing(
    node: RunningNode, triggers: dict[str, tuple[dict[str, Any], dict[str, Any]]], hooks: dict[str, str]
) -> None:
    server = node.server
    worker = server.post("/workers/workers", {"name": "app"})["id"]
    repo = server.put("/builds/repos/connections", {"provider_type": "git", "repo_id": "app"})
    objects = {"external_script_id": worker, "repo_connection_uuid": repo["repo_connection_uuid"]}
    for name, (fields, values) in triggers.items():
        made = server.post("/builds/triggers", {**objects, **fields, "trigger_name": name})
        server.patch(f"/builds/triggers/{made['trigger_uuid']}/environment_variables", values)
    for name, branch in hooks.items():
        body = {"deploy_hook_name": name, "branch": branch}
        server.post("/builds/workers/app/deploy_hooks", body)

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "workers.toml")
        exported = export_workers(server)
        file.write_bytes(exported.encode())
        said = load(file, {}, {}).workers
        changes = plan(server, said, base_dir=Path(folder), environ={}, prune=True)
        server.delete("/workers/workers/app")
        again = plan(server, said, base_dir=Path(folder), environ={})
        for change in again:
            change.carry_out()

    assert list(said) == ["app"]
    assert changes == [], exported
    assert export_workers(server) == exported
    server.delete("/workers/workers/app")


def test_no_two_secrets_are_taken_from_one_variable_and_all_variables_are_named(node: RunningNode) -> None:
    server = node.server
    for name in ("app", "app-preview"):
        worker = server.post("/workers/workers", {"name": name})["id"]
        repo = server.put("/builds/repos/connections", {"provider_type": "git", "repo_id": name})
        objects = {"external_script_id": worker, "repo_connection_uuid": repo["repo_connection_uuid"]}
        for trigger, branch in (("production", "main"), ("preview", "*")):
            rules = {"trigger_name": trigger, "branch_includes": [branch]}
            made = server.post("/builds/triggers", {**objects, **rules})
            secret = {"API_KEY": {"is_secret": True, "value": f"{name} {trigger}"}}
            server.patch(f"/builds/triggers/{made['trigger_uuid']}/environment_variables", secret)

    exported = export_workers(server)

    environ = {
        "APP_API_KEY": "app production",
        "APP_PREVIEW_API_KEY": "app preview",
        "APP_PREVIEW_API_KEY_2": "app-preview production",
        "APP_PREVIEW_PREVIEW_API_KEY": "app-preview preview",
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "workers.toml")
        file.write_text(exported)
        said = load(file, {}, {}).workers
        assert plan(server, said, base_dir=Path(folder), environ=environ, prune=True) == []
    assert {f"#   {name}" for name in environ} <= set(exported.splitlines())
    for name in ("app", "app-preview"):
        server.delete(f"/workers/workers/{name}")
