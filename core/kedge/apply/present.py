"""What the server has now."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kedge.client import Server


@dataclass(kw_only=True)
class PresentTrigger:
    """A trigger of the server, with its variables as the API shows them."""

    uuid: str
    fields: dict[str, Any]
    variables: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(kw_only=True)
class PresentWorker:
    """A worker of the server with its triggers by name."""

    tag: str
    name: str
    repository: str | None = None
    triggers: dict[str, PresentTrigger] = field(default_factory=dict)
    #: deploy hooks by name, as the API shows them
    hooks: dict[str, dict[str, Any]] = field(default_factory=dict)


def read_present(server: Server) -> dict[str, PresentWorker]:
    """Every worker of the account, by name."""
    workers = {}
    for found in server.get("/workers/workers"):
        worker = PresentWorker(tag=found["id"], name=found["name"])
        for trigger in server.get(f"/builds/workers/{worker.tag}/triggers"):
            uuid = trigger["trigger_uuid"]
            worker.repository = worker.repository or _repository(trigger["repo_connection"])
            variables = server.get(f"/builds/triggers/{uuid}/environment_variables")
            worker.triggers[trigger["trigger_name"]] = PresentTrigger(
                uuid=uuid, fields=trigger, variables=variables
            )
        hooks = server.get(f"/builds/workers/{worker.tag}/deploy_hooks")
        worker.hooks = {hook["deploy_hook_name"]: hook for hook in hooks}
        workers[worker.name] = worker
    return workers


def _repository(connection: dict[str, Any]) -> str:
    return f"{connection['provider_type']}:{connection['provider_account_id']}/{connection['repo_id']}"
