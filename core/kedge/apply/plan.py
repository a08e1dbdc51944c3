"""The steps from what is to what a file says."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from kedge.apply.changes import Change
from kedge.apply.present import PresentTrigger, PresentWorker, read_present
from kedge.client import ClientError
from kedge.config.caches import CacheSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from kedge.client import Server
    from kedge.config import TriggerSpec, WorkerSpec

FIELDS = (
    "build_command",
    "deploy_command",
    "root_directory",
    "branch_includes",
    "branch_excludes",
    "path_includes",
    "path_excludes",
    "build_caching_enabled",
    "build_caches",
)


def plan(
    server: Server,
    workers: Mapping[str, WorkerSpec],
    *,
    base_dir: Path,
    environ: Mapping[str, str],
    prune: bool = False,
) -> list[Change]:
    """What is to be done, in order; empty when all is as the file says.

    Secrets are looked up here: `ConfigError` for one that is not to be had. With `prune`, what the file does
    not name is removed: workers, triggers and variables.
    """
    present = read_present(server)
    changes: list[Change] = []
    for name, spec in workers.items():
        planner = _WorkerPlan(server, name, spec, present.get(name), base_dir=base_dir, environ=environ)
        changes += planner.changes(prune=prune)
    if prune:
        changes += [
            Change(
                action="remove",
                what=f"worker {name}",
                carry_out=partial(_delete, server, f"/workers/workers/{worker.tag}"),
            )
            for name, worker in present.items()
            if name not in workers
        ]
    return changes


class _WorkerPlan:
    """The changes of one worker. What earlier changes make, later ones look up when carried out."""

    def __init__(
        self,
        server: Server,
        name: str,
        spec: WorkerSpec,
        present: PresentWorker | None,
        *,
        base_dir: Path,
        environ: Mapping[str, str],
    ) -> None:
        self._server = server
        self._name = name
        self._spec = spec
        self._present = present
        self._base_dir = base_dir
        self._environ = environ
        self._tag = present.tag if present else ""

    def changes(self, *, prune: bool) -> Iterator[Change]:
        if self._present is None:
            yield Change(action="make", what=f"worker {self._name}", carry_out=self._make_worker)
        known = self._present.triggers if self._present else {}
        for trigger in self._spec.triggers():
            yield from self._trigger(trigger, known.get(trigger.name), prune=prune)
        wanted = {trigger.name for trigger in self._spec.triggers()}
        for name, left in known.items():
            if prune and name not in wanted:
                yield Change(
                    action="remove",
                    what=f"trigger {self._name}/{name}",
                    carry_out=partial(_delete, self._server, f"/builds/triggers/{left.uuid}"),
                )
        yield from self._hooks(prune=prune)

    def _hooks(self, *, prune: bool) -> Iterator[Change]:
        known = self._present.hooks if self._present else {}
        for name, branch in self._spec.hooks.items():
            there = known.get(name)
            if there is not None and there["branch"] == branch:
                continue
            yield Change(
                action="make" if there is None else "change",
                what=f"deploy hook {self._name}/{name}",
                details=(f"branch: {branch!r}",),
                carry_out=partial(self._set_hook, name, branch, there),
            )
        for name, there in known.items():
            if prune and name not in self._spec.hooks:
                yield Change(
                    action="remove",
                    what=f"deploy hook {self._name}/{name}",
                    carry_out=partial(self._delete_hook, there),
                )

    def _set_hook(self, name: str, branch: str, there: dict[str, Any] | None) -> None:
        path = f"/builds/workers/{self._tag}/deploy_hooks"
        body = {"deploy_hook_name": name, "branch": branch}
        if there is None:
            self._server.post(path, body)
        else:
            self._server.put(f"{path}/{there['deploy_hook_uuid']}", body)

    def _delete_hook(self, there: dict[str, Any]) -> None:
        self._server.delete(f"/builds/workers/{self._tag}/deploy_hooks/{there['deploy_hook_uuid']}")

    def _trigger(self, spec: TriggerSpec, present: PresentTrigger | None, *, prune: bool) -> Iterator[Change]:
        what = f"trigger {self._name}/{spec.name}"
        wanted = {name: _plain(getattr(spec, name)) for name in FIELDS}
        values = {
            key: (variable.resolve(self._base_dir, self._environ), variable.is_secret)
            for key, variable in spec.variables.items()
        }
        if present is None:
            details = tuple(f"{name}: {value!r}" for name, value in wanted.items() if value)
            details += tuple(f"variable {key}" for key in values)
            make = partial(self._make_trigger, spec.name, wanted, values)
            yield Change(action="make", what=what, details=details, carry_out=make)
            return
        path = f"/builds/triggers/{present.uuid}"
        different = {name: value for name, value in wanted.items() if present.fields[name] != value}
        if different:
            details = tuple(
                f"{name}: {present.fields[name]!r} → {value!r}" for name, value in different.items()
            )
            change = partial(_patch, self._server, path, different)
            yield Change(action="change", what=what, details=details, carry_out=change)
        yield from self._variables(spec.name, path, present, values, prune=prune)

    def _variables(
        self,
        trigger: str,
        path: str,
        present: PresentTrigger,
        values: dict[str, tuple[str, bool]],
        *,
        prune: bool,
    ) -> Iterator[Change]:
        same_secrets = self._same_secrets(path, present, values)
        for key, (value, is_secret) in values.items():
            there = present.variables.get(key)
            same = same_secrets.get(key) if is_secret else there is not None and there["value"] == value
            if same and there is not None and there["is_secret"] == is_secret:
                continue
            yield Change(
                action="make" if there is None else "change",
                what=f"variable {self._name}/{trigger} {key}",
                details=("a secret",) if is_secret else (f"value: {value!r}",),
                carry_out=partial(
                    _patch,
                    self._server,
                    f"{path}/environment_variables",
                    {key: {"is_secret": is_secret, "value": value}},
                ),
            )
        for key in present.variables:
            if prune and key not in values:
                yield Change(
                    action="remove",
                    what=f"variable {self._name}/{trigger} {key}",
                    carry_out=partial(_delete, self._server, f"{path}/environment_variables/{key}"),
                )

    def _same_secrets(
        self, path: str, present: PresentTrigger, values: dict[str, tuple[str, bool]]
    ) -> dict[str, bool]:
        """Which secrets the server has already; only the server can tell, for it never shows them."""
        secrets = {
            key: value
            for key, (value, is_secret) in values.items()
            if is_secret and present.variables.get(key, {}).get("is_secret")
        }
        if not secrets:
            return {}
        same: dict[str, bool] = self._server.post(f"{path}/environment_variables/compare", secrets)
        return same

    def _make_worker(self) -> None:
        if self._spec.triggers():
            self._connection()  # with a repository that cannot be, no worker is left behind
        self._tag = self._server.post("/workers/workers", {"name": self._name})["id"]

    def _make_trigger(self, name: str, fields: dict[str, Any], values: dict[str, tuple[str, bool]]) -> None:
        body = {
            "external_script_id": self._tag,
            "repo_connection_uuid": self._connection(),
            "build_token_uuid": None,
            "trigger_name": name,
            **fields,
        }
        uuid = self._server.post("/builds/triggers", body)["trigger_uuid"]
        if values:
            variables = {
                key: {"is_secret": is_secret, "value": value} for key, (value, is_secret) in values.items()
            }
            self._server.patch(f"/builds/triggers/{uuid}/environment_variables", variables)

    def _connection(self) -> str:
        forge, _, path = self._spec.repository(self._name).partition(":")
        owner, _, repo = path.rpartition("/")
        body = {
            "provider_type": forge,
            "provider_account_id": owner or self._server.account,
            "provider_account_name": owner or self._server.account,
            "repo_id": repo,
            "repo_name": repo,
        }
        try:
            return str(self._server.put("/builds/repos/connections", body)["repo_connection_uuid"])
        except ClientError as error:
            raise ClientError(f"workers.{self._name}.repo: {error}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return value.model_dump(mode="json") if isinstance(value, CacheSpec) else value


def _patch(server: Server, path: str, body: dict[str, Any]) -> None:
    server.patch(path, body)


def _delete(server: Server, path: str) -> None:
    server.delete(path)
