"""What the API answers with: types that hold the code to the documented shapes, and become OpenAPI."""

from __future__ import annotations

from typing import Any, NotRequired

# pydantic takes no other before Python 3.12
from typing_extensions import TypedDict


class WorkerShape(TypedDict):
    """A worker. `tag` is what other objects call `external_script_id`."""

    id: str
    name: str
    tag: str
    created_on: str | None
    modified_on: str | None


class PlacementShape(TypedDict, total=False):
    """Where a worker shall run, as its author said, and how that stands. Empty: where requests come in."""

    mode: str
    hint: str
    region: str
    host: str
    hostname: str
    status: str
    last_analyzed_at: str


class SettingsShape(TypedDict):
    """What can be changed about a worker without its files."""

    placement: PlacementShape


class ScriptShape(WorkerShape):
    """A worker as deploying tools look it up; what is said of placement twice has an older name, too."""

    placement: PlacementShape
    placement_mode: NotRequired[str]
    placement_status: NotRequired[str]


class RegionShape(TypedDict):
    """A region of a provider that a location lies in."""

    id: str
    locations: list[str]


class ProviderShape(TypedDict):
    """A provider, and which of its regions there are locations in."""

    id: str
    regions: list[RegionShape]


class ProvidersShape(TypedDict):
    """What `placement.region` can name, as `PROVIDER:REGION`."""

    providers: list[ProviderShape]


class ServiceEnvironment(TypedDict):
    """The one environment that a worker has."""

    environment: str
    script: ScriptShape


class ServiceShape(TypedDict):
    """A worker as deploying tools look it up."""

    id: str
    default_environment: ServiceEnvironment


class Removed(TypedDict):
    """What was removed."""

    id: str


class ConnectionShape(TypedDict):
    """A repository that an account may build."""

    repo_connection_uuid: str
    repo_id: str
    repo_name: str
    provider_type: str
    provider_account_id: str
    provider_account_name: str
    created_on: str | None
    modified_on: str | None
    deleted_on: str | None


class RepositoryPlace(TypedDict):
    """Where a repository is."""

    url: str


class ConnectedShape(ConnectionShape):
    """A connection that was just made."""

    kedge: RepositoryPlace


class CacheDeclaration(TypedDict):
    """Folders that builds keep for the next ones."""

    name: str
    paths: list[str]
    key: str | None
    restore_keys: list[str]


class CacheShape(TypedDict):
    """What a build has kept. `tree_bytes` is its size unpacked."""

    worker: str
    name: str
    key: str
    branch: str
    size: int
    tree_bytes: int
    file_count: int
    build_uuid: str
    created_on: str | None
    read_on: str | None


class UnneededVersionShape(TypedDict):
    """A version that no rule keeps."""

    id: str
    worker: str
    number: int
    created_on: str | None


class UnneededBlobsShape(TypedDict):
    """What nothing needs of one kind. `trouble` tells why no more is known of it."""

    kind: str
    count: int
    size: int
    trouble: str | None


class CleanupShape(TypedDict):
    """What is cleared away."""

    versions: list[UnneededVersionShape]
    blobs: list[UnneededBlobsShape]


class TransferShape(TypedDict):
    """A request that a store has signed: the URL is a secret, and every header is sent as it stands."""

    url: str
    headers: dict[str, str]


class HitShape(TypedDict):
    """A cache that a build may restore. `get` is null where its bytes come through Kedge."""

    id: str
    key: str
    branch: str
    size: int
    sha256: str
    fingerprint: str
    tree_bytes: int
    file_count: int
    get: TransferShape | None


class LookupShape(TypedDict):
    """The cache that fits best, if any does."""

    hit: HitShape | None


class KnownShape(TypedDict):
    """Whether a tree is kept already."""

    known: bool


class UploadShape(TypedDict):
    """An archive that is announced. `put` is null where its bytes go through Kedge."""

    id: str
    put: TransferShape | None


class TriggerShape(TypedDict):
    """Which pushes build a worker, and how."""

    trigger_uuid: str
    external_script_id: str
    trigger_name: str
    build_command: str
    deploy_command: str
    root_directory: str
    branch_includes: list[str]
    branch_excludes: list[str]
    path_includes: list[str]
    path_excludes: list[str]
    build_caching_enabled: bool
    build_caches: list[CacheDeclaration]
    build_token_uuid: str | None
    created_on: str | None
    modified_on: str | None
    deleted_on: str | None
    repo_connection: ConnectionShape | None


class HookAddress(TypedDict):
    """What to POST to."""

    url: str


class DeployHookShape(TypedDict):
    """An address that starts builds of a branch. Its UUID is a secret: readers do not see it."""

    deploy_hook_uuid: NotRequired[str]
    deploy_hook_name: str
    branch: str
    external_script_id: str
    created_on: str | None
    modified_on: str | None
    kedge: NotRequired[HookAddress]


class LatestBuildShape(TypedDict):
    """The newest build of a hook."""

    created_on: str | None


class ListedHookShape(DeployHookShape):
    """A hook in the list."""

    latest_build: LatestBuildShape | None


class AskedShape(TypedDict):
    """The build that a call of a hook led to, or the one that was waiting already."""

    build_uuid: str
    status: str
    created_on: str | None
    already_exists: bool


class HookName(TypedDict):
    """Which deploy hook asked for a build, by the name that it had then."""

    deploy_hook_name: str


class VariableShape(TypedDict):
    """A build variable; the value of a secret is null."""

    is_secret: bool
    value: str | None
    created_on: str | None


class BuildTokenShape(TypedDict):
    """A credential that builds deploy with."""

    build_token_uuid: str
    build_token_name: str
    cloudflare_token_id: str
    owner_type: str


class ApiTokenShape(TypedDict):
    """A token of this API."""

    id: str
    name: str
    can_write: bool
    created_on: str | None
    revoked_on: str | None


class NewApiTokenShape(ApiTokenShape):
    """A token of this API, the only time that its value is shown."""

    value: str


class MetadataShape(TypedDict):
    """What a build was made of, as it was then."""

    build_trigger_source: str
    branch: str
    commit_hash: str
    commit_message: str
    author: str
    build_command: str
    deploy_command: str
    root_directory: str
    build_token_uuid: str | None
    build_token_name: str | None
    environment_variables: dict[str, VariableShape]
    repo_name: str
    provider_account_name: str
    provider_type: str


class AttemptShape(TypedDict):
    """One try at a build."""

    number: int
    node: str
    compute: str
    location: str
    started_on: str | None
    ended_on: str | None


FailureShape = TypedDict("FailureShape", {"class": str, "message": str | None, "advice": str})
FailureShape.__doc__ = "Why a build failed, and what to do."


class WaitShape(TypedDict):
    """Why a build waits, and behind whom."""

    position: int
    reason: str
    before: list[str]


class ExtraShape(TypedDict):
    """What Kedge knows of a build beyond Workers Builds."""

    worker: str
    attempt: int
    attempts: list[AttemptShape]
    is_production: bool
    trusted: bool
    exit_code: int | None
    failure: FailureShape | None
    message: str | None
    phases: list[dict[str, Any]]
    wait: WaitShape | None
    url: str | None
    version_id: str | None
    log_url: str


class BuildShape(TypedDict):
    """One commit of one worker, from queued to stopped. Attempts and URLs: of a single one only."""

    build_uuid: str
    status: str
    build_outcome: str | None
    created_on: str | None
    initializing_on: str | None
    running_on: str | None
    stopped_on: str | None
    modified_on: str | None
    preview_url: str | None
    deploy_hook: HookName | None
    pull_request: None
    trigger: TriggerShape
    build_trigger_metadata: MetadataShape
    kedge: ExtraShape


class BuildsShape(TypedDict):
    """Builds by what was asked for."""

    builds: dict[str, BuildShape]


class CancelledShape(TypedDict):
    """A build that was cancelled. One that still comes to its end has no outcome yet."""

    build_uuid: str
    build_outcome: str | None
    stopped_on: str | None


class QueuedShape(WaitShape):
    """A build in the queue."""

    build_uuid: str
    worker: str
    branch: str
    is_production: bool
    created_on: str | None


class LimitsShape(TypedDict):
    """Limits on build minutes."""

    has_reached_build_minutes_limit: bool
    build_minutes_refresh_on: str | None


class BegunShape(TypedDict):
    """An upload, and which contents it still needs."""

    upload_id: str
    missing: list[str]


class CompletedShape(TypedDict):
    """A version that is stored whole, and where it can be seen."""

    version_id: str
    number: int
    url: str
    preview_url: str
    alias_url: str | None
    live: bool
    deployment_id: str | None
    state: str | None
    failure: StartFailureShape | None


class VersionMetadata(TypedDict):
    """Where a version comes from. `author_email` may be another name than an e-mail address."""

    created_on: str | None
    modified_on: str | None
    source: str
    hasPreview: bool
    author_email: NotRequired[str]


class VersionExtra(TypedDict):
    """What Kedge knows of a version beyond Workers' API."""

    kind: str
    digest: str
    file_count: int
    byte_count: int
    commit_hash: str | None
    branch: str | None
    build_uuid: str | None


class VersionShape(TypedDict):
    """An immutable upload."""

    id: str
    number: int
    metadata: VersionMetadata
    annotations: dict[str, str]
    kedge: VersionExtra


class VersionsShape(TypedDict):
    """Versions of a worker."""

    items: list[VersionShape]


class TrafficShape(TypedDict):
    """How much of the traffic a version gets, in percent."""

    version_id: str
    percentage: float


class StartFailureShape(TypedDict):
    """Why no instance of a version started: the last probes, and the end of what it printed."""

    reason: str
    probes: list[str]
    log_tail: str


class OutcomeShape(TypedDict):
    """How a deployment stands: `starting`, `active` or `failed`."""

    state: str | None
    failure: StartFailureShape | None


def failure_shape(failure: dict[str, Any]) -> StartFailureShape | None:
    """Why a deployment failed, if it did."""
    if not failure:
        return None
    return {"reason": failure["reason"], "probes": failure["probes"], "log_tail": failure["tail"]}


class DeploymentExtra(TypedDict):
    """What Kedge knows of a deployment beyond Workers' API: `starting`, `active` or `failed`."""

    state: str
    failure: StartFailureShape | None


class DeploymentShape(TypedDict):
    """Which versions served from a moment on."""

    id: str
    created_on: str | None
    source: str
    strategy: str
    versions: list[TrafficShape]
    annotations: dict[str, str]
    kedge: DeploymentExtra
    author_email: NotRequired[str]


class DeploymentsShape(TypedDict):
    """Deployments of a worker."""

    deployments: list[DeploymentShape]


class WorkerSecretShape(TypedDict):
    """A secret of a worker, without its text."""

    name: str
    type: str


class InstanceShape(TypedDict):
    """One running instance."""

    id: str
    node: str
    version_id: str
    kind: str
    address: str
    in_flight: int
    age_seconds: float


class InstancesShape(TypedDict):
    """What runs on `nodes`; `silent` ones did not answer; `failures` by version tell why none stays."""

    nodes: list[str]
    silent: list[str]
    instances: list[InstanceShape]
    starting: int
    failures: dict[str, str]


class LogPageShape(TypedDict):
    """Lines, each with the second it was printed in; with `truncated` there is more behind `cursor` now."""

    lines: list[tuple[int, str]]
    cursor: str
    truncated: bool


class OrderShape(TypedDict):
    """Whether a runner should cancel."""

    cancel: bool


class AppendedShape(OrderShape):
    """Which chunk of log a runner sends next."""

    next: int


class UnreadableShape(TypedDict):
    """Files that could not be understood."""

    unreadable: list[str]


class AutofillShape(TypedDict):
    """What a repository tells of how to build it."""

    config_file: str | None
    default_worker_name: str | None
    env_worker_names: dict[str, str]
    package_manager: str | None
    scripts: dict[str, str]
    kedge: UnreadableShape


class ExplanationsShape(TypedDict):
    """Where a worker's requests run that come in at one location, by route, and why."""

    location: str
    locations: list[str]
    placement_status: str | None
    routes: list[dict[str, Any]]


class DurationsShape(TypedDict):
    """How long a worker's requests took that came in at one location."""

    location: str
    series: list[dict[str, Any]]


class DatabaseWayShape(TypedDict):
    """A node, how far it is, and how long a transaction from there takes."""

    name: str
    location: str
    database_ms: float | None
    way_ms: float | None


class ControlPlaneShape(TypedDict):
    """Where calls that write are done."""

    location: str
    writes_go_to: str
    expected_here_ms: float | None
    expected_there_ms: float | None
    nodes: list[DatabaseWayShape]
    series: list[dict[str, Any]]
