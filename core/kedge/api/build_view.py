"""A build as the API shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kedge.api import bodies, triggers
from kedge.contracts.failures import ADVICE, Failure
from kedge.db.clock import to_iso
from kedge.db.queries import builds as queries
from kedge.workers.urls import WorkerUrls

if TYPE_CHECKING:
    from starlette.requests import Request

    from kedge.api.shapes.builds import BuildShape, ExtraShape, FailureShape, MetadataShape, WaitShape
    from kedge.db.queries.builds import BuildView
    from kedge.db.queries.queue import Before


async def show_build(request: Request, build_uuid: str) -> BuildShape:
    """One build of the caller's account as JSON. Raises `NotFound`."""
    db = bodies.services(request).db
    return describe(request, await db.read(queries.get_build, request.state.account_id, build_uuid))


def describe(request: Request, view: BuildView) -> BuildShape:
    """A build as the API shows it; what is Kedge's own stands under `kedge`."""
    build, at = view.build, view.whereabouts
    return {
        "build_uuid": build.build_uuid,
        "status": build.status,
        "build_outcome": build.outcome,
        "created_on": to_iso(build.created_on),
        "initializing_on": to_iso(build.initializing_on),
        "running_on": to_iso(build.running_on),
        "stopped_on": to_iso(build.stopped_on),
        "modified_on": to_iso(build.modified_on),
        "preview_url": _urls(request).version(at.place, at.version_id) if at else None,
        "deploy_hook": {"deploy_hook_name": build.deploy_hook} if build.deploy_hook else None,
        "pull_request": None,
        "trigger": triggers.describe(view.trigger, view.connection),
        "build_trigger_metadata": _metadata(view),
        "kedge": _extra(request, view),
    }


def _metadata(view: BuildView) -> MetadataShape:
    build, snapshot = view.build, view.build.snapshot
    return {
        "build_trigger_source": build.source,
        "branch": build.branch,
        "commit_hash": build.commit_hash,
        "commit_message": build.commit_message,
        "author": build.author,
        "build_command": snapshot["build_command"],
        "deploy_command": snapshot["deploy_command"],
        "root_directory": snapshot["root_directory"],
        "build_token_uuid": snapshot["build_token_uuid"],
        "build_token_name": snapshot["build_token_name"],
        "environment_variables": {
            key: {"is_secret": known["is_secret"], "created_on": to_iso(known["created_on"]), "value": None}
            for key, known in snapshot["environment_variables"].items()
        },
        "repo_name": snapshot["repo_name"],
        "provider_account_name": snapshot["provider_account_name"],
        "provider_type": snapshot["provider_type"],
    }


def _extra(request: Request, view: BuildView) -> ExtraShape:
    build = view.build
    public_url = bodies.services(request).public_url
    return {
        "worker": view.worker,
        "attempt": build.attempt,
        "attempts": [
            {
                "number": attempt.number,
                "node": attempt.node,
                "compute": attempt.compute,
                "location": attempt.location,
                "started_on": to_iso(attempt.started_on),
                "ended_on": to_iso(attempt.ended_on),
            }
            for attempt in view.attempts
        ],
        "is_production": build.is_production,
        "trusted": build.trusted,
        "exit_code": build.exit_code,
        "failure": _failure(build.failure, build.failure_message),
        "message": build.failure_message,
        "phases": build.phases or [],
        "wait": None if view.before is None else _wait(view, view.before),
        "url": _urls(request).best(view.whereabouts) if view.whereabouts else None,
        "version_id": view.version.id if view.version else build.version_id,
        "log_url": f"{public_url}{request.scope.get('root_path', '')}/builds/builds/{build.build_uuid}/logs",
    }


def _wait(view: BuildView, before: Before) -> WaitShape:
    reason = wait_reason(view.build.wait_reason, before.count)
    return {"position": before.count + 1, "reason": reason, "before": before.nearest}


def wait_reason(noted: str | None, before: int) -> str:
    """Why a build waits: what the scheduler noted, which looks only at those whose turn comes next."""
    if noted is not None:
        return noted
    return f"it is behind {before} other{'s' if before > 1 else ''}" if before else "it is about to start"


def _failure(failure: str | None, message: str | None) -> FailureShape | None:
    if failure is None:
        return None
    return {"class": failure, "message": message, "advice": ADVICE[Failure(failure)]}


def _urls(request: Request) -> WorkerUrls:
    services = bodies.services(request)
    return WorkerUrls(public_url=services.public_url, domain=services.settings.server.domain)
