"""Workers."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from starlette.routing import Route

from kedge.api import bodies
from kedge.api.envelope import ok
from kedge.api.operations import answers
from kedge.api.removal import remove_worker
from kedge.api.shapes.workers import Removed, WorkerShape
from kedge.config.workers import WorkerName  # noqa: TC001  (pydantic reads it when it runs)
from kedge.db.clock import now_ms, to_iso
from kedge.db.queries import workers as queries
from kedge.db.queries.versions import find_worker
from kedge.db.tables import Worker

if TYPE_CHECKING:
    from sqlmodel import Session
    from starlette.requests import Request
    from starlette.responses import Response


class NewWorker(bodies.Strict):
    """A worker to be made."""

    name: WorkerName


class WorkerChange(bodies.Strict):
    """What can be changed about a worker."""

    name: WorkerName


@answers(list[WorkerShape])
async def list_workers(request: Request) -> Response:
    """Every worker of the account, by name."""
    found = await bodies.services(request).db.read(queries.list_workers, request.state.account_id)
    return ok([describe(worker) for worker in found])


@answers(list[WorkerShape])
async def list_scripts(request: Request) -> Response:
    """The same by the older name, under which a script's id is its name."""
    found = await bodies.services(request).db.read(queries.list_workers, request.state.account_id)
    return ok([describe_script(worker) for worker in found])


@answers(WorkerShape)
async def create(request: Request) -> Response:
    """Make a worker. 409 if the name is taken."""
    body = await bodies.read(request, NewWorker)
    now = now_ms()
    worker = Worker(
        id=uuid4().hex,
        account_id=request.state.account_id,
        name=body.name,
        created_on=now,
        modified_on=now,
    )
    await bodies.services(request).db.write(queries.add_worker, worker)
    return ok(describe(worker))


@answers(WorkerShape)
async def get(request: Request) -> Response:
    """One worker, by its name or tag."""
    return ok(describe(await _find(request)))


@answers(WorkerShape)
async def rename(request: Request) -> Response:
    """Give a worker another name. Its tag, versions and builds stay."""
    body = await bodies.read(request, WorkerChange)
    services = bodies.services(request)
    worker = await services.db.write(
        queries.rename_worker, request.state.account_id, request.path_params["worker"], body.name, now_ms()
    )
    return ok(describe(worker))


@answers(Removed)
async def delete(request: Request) -> Response:
    """Remove a worker with its triggers, builds, logs, versions and deployments. The repository stays."""
    services = bodies.services(request)
    return ok({"id": await remove_worker(services, request.state.account_id, request.path_params["worker"])})


async def _find(request: Request) -> Worker:
    services = bodies.services(request)
    worker = request.path_params["worker"]
    return await services.db.read(_lookup, request.state.account_id, worker)


def _lookup(session: Session, account_id: str, worker: str) -> Worker:
    return find_worker(session, account_id, worker)


def describe(worker: Worker) -> WorkerShape:
    """A worker as the API shows it."""
    return {
        "id": worker.id,
        "name": worker.name,
        "tag": worker.id,
        "created_on": to_iso(worker.created_on),
        "modified_on": to_iso(worker.modified_on),
    }


def describe_script(worker: Worker) -> WorkerShape:
    """A worker as older routes show it."""
    return {**describe(worker), "id": worker.name}


routes = [
    Route("/workers/workers", list_workers, methods=["GET"]),
    Route("/workers/scripts", list_scripts, methods=["GET"]),
    Route("/workers/workers", create, methods=["POST"]),
    Route("/workers/workers/{worker}", get, methods=["GET"]),
    Route("/workers/workers/{worker}", rename, methods=["PATCH"]),
    Route("/workers/workers/{worker}", delete, methods=["DELETE"]),
]
