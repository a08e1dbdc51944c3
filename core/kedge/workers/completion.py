"""The last step of an upload: one transaction in which the version appears and begins to serve."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING
from uuid import uuid4

from kedge.db.clock import now_ms
from kedge.db.queries import versions as queries
from kedge.db.queries.deployments import Note, Traffic, overtaken_by
from kedge.db.queries.secrets import version_secrets
from kedge.db.tables import Version
from kedge.errors import Forbidden
from kedge.workers.deployments import Change
from kedge.workers.previews import check_alias

if TYPE_CHECKING:
    from sqlmodel import Session

    from kedge.contracts.host import Principal
    from kedge.db.tables import Build, Upload, Worker
    from kedge.workers.deployments import Deployments, Published
    from kedge.workers.urls import WorkerUrls

LONGEST_MESSAGE = 1024


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What shall become of the finished version."""

    deploy: bool
    alias: str | None
    urls: WorkerUrls


@dataclass(frozen=True, kw_only=True)
class Completed:
    """A version that is stored whole, and where it can be seen."""

    version_id: str
    number: int
    #: the worker's if the version is live, else the version's own
    url: str
    preview_url: str
    alias_url: str | None
    #: whether it serves in production, or will once it has started
    live: bool
    #: why it is not live although that was wished
    reason: str | None = None
    #: the deployment that made it live
    deployment_id: str | None = None


def complete(
    session: Session, deployments: Deployments, principal: Principal, upload_id: str, wish: Wish
) -> tuple[Completed, Published | None]:
    """Make the version of an upload whose files are all there; the second time, only tell of it again."""
    upload, worker = queries.find_upload(session, upload_id, lock=True)
    build = check_build(session, principal, worker, deploy=wish.deploy)
    if "completed" in upload.request:
        return Completed(**upload.request["completed"]), None
    if wish.alias is not None:
        check_alias(wish.alias, worker.name)
    version = _add_version(session, upload, _origin(principal, build, upload.request["message"]))
    version.secrets = version_secrets(session, version)
    note = Note(source="build" if build else "api", author=version.author, message=version.message)
    # What is built last need not be built from the newest commit: a build that was overtaken goes nowhere.
    newer = overtaken_by(session, build) if wish.deploy and build is not None else None
    change = Change(note=note, live=wish.deploy and newer is None, alias=wish.alias)
    published = deployments.publish(session, worker, [Traffic(version=version)], change)
    completed = replace(_completed(published, wish.urls), reason=None if newer is None else _why_not(newer))
    upload.request = {**upload.request, "completed": asdict(completed)}
    return completed, published


def check_build(session: Session, principal: Principal, worker: Worker, *, deploy: bool) -> Build | None:
    """The build that a token belongs to, if it is one's. Raises `Forbidden` for what it may not do."""
    if principal.build_uuid is None:
        return None
    build = queries.deploying_build(session, principal.build_uuid, worker)
    if deploy and not build.is_production:
        raise Forbidden(
            f"this build is a preview of the branch {build.branch!r}: it may upload a version, "
            "but not put it into production. Deploy with --no-promote"
        )
    return build


def _origin(principal: Principal, build: Build | None, message: str) -> dict[str, str]:
    """Where a version comes from. Of a build Kedge knows it, whatever the uploader says."""
    if build is None:
        return {"author": principal.token_name}
    return {
        "author": build.author,
        "commit_hash": build.commit_hash,
        "branch": build.branch,
        "message": message or build.commit_message.partition("\n")[0][:LONGEST_MESSAGE],
    }


def _add_version(session: Session, upload: Upload, origin: dict[str, str]) -> Version:
    version = Version(
        id=str(uuid4()),
        account_id=upload.account_id,
        worker_id=upload.worker_id,
        number=queries.next_number(session, upload.worker_id),
        build_uuid=upload.build_uuid,
        created_on=now_ms(),
        **{"kind": "static", **upload.request, **origin},
    )
    session.add(version)
    session.flush()
    if upload.build_uuid is not None:
        queries.note_build_version(session, upload.build_uuid, version.id)
    return version


def _why_not(newer: Build) -> str:
    """Why a version does not serve whose build was overtaken."""
    short = newer.build_uuid[:8]
    return f"the newer build {short} of {newer.commit_hash[:12]} went live while this one ran"


def _completed(published: Published, urls: WorkerUrls) -> Completed:
    version, place = published.version, published.place
    preview_url = urls.version(place, version.id)
    return Completed(
        version_id=version.id,
        number=version.number,
        url=preview_url if published.deployment is None else urls.production(place),
        preview_url=preview_url,
        alias_url=None if published.alias is None else urls.alias(place, published.alias),
        live=published.deployment is not None,
        deployment_id=None if published.deployment is None else published.deployment.uuid,
    )
