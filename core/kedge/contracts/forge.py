"""The seam to where repositories live."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

    from kedge.contracts.host import Host


@dataclass(frozen=True, kw_only=True)
class Repo:
    """Names a repository: which forge, whose, which."""

    #: the forge's name, the API's `provider_type`
    forge: str
    #: the owner, the API's `provider_account_id`
    owner: str
    #: the API's `repo_id`
    name: str


@dataclass(frozen=True, kw_only=True)
class Push:
    """One branch moved to a commit. A delivery may hold several."""

    repo: Repo
    #: without `refs/heads/`; of a pull request from a fork a name that no branch here has, as `pull/7`
    branch: str
    commit_hash: str
    #: whether who caused it may write to the repository; False for a pull request from a fork. The forge's
    #: own word for who it was, never what a commit says of its author
    trusted: bool
    before: str | None = None
    commit_message: str = ""
    author: str = ""
    #: paths that changed, or `None` if not known (then path rules are not applied)
    changed_paths: tuple[str, ...] | None = None
    commit_count: int = 1


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """What one webhook call or one `git push` told. `delivery_id` makes a repeated one harmless."""

    forge: str
    delivery_id: str
    pushes: tuple[Push, ...]


@dataclass(frozen=True, kw_only=True)
class CloneSource:
    """How a runner gets a repository.

    `local_path` is a bare repository that a runner on this machine may read instead of `url`.
    """

    url: str
    username: str = ""
    password: str = field(default="", repr=False)
    local_path: str | None = None


@dataclass(frozen=True, kw_only=True)
class BuildReport:
    """What a forge is told of a build."""

    repo: Repo
    build_uuid: str
    worker: str
    commit_hash: str
    branch: str
    #: `queued`, `running` or `stopped`
    status: str
    #: of a stopped one: `success`, `fail`, `skipped`, `cancelled` or `terminated`
    outcome: str | None
    #: a sentence: why it failed, if it did
    summary: str
    #: its log
    details_url: str
    #: where to see what it deployed, if anything
    preview_url: str | None = None


@runtime_checkable
class Forge(Protocol):
    """A place where repositories live. Registered as a class by `kedge_register_forge`."""

    name: ClassVar[str]
    Settings: ClassVar[type[BaseModel]]
    #: whether Kedge itself makes the repositories (`ensure_repo`), or only connects to them
    hosts_repos: ClassVar[bool]
    #: whether `report_status` does anything; without it Kedge spares itself the work
    takes_reports: ClassVar[bool]
    #: `HOST:PORT` that runners clone from, so that they can run near it; `None` where that is Kedge itself
    clone_address: str | None

    def __init__(self, settings: Any, host: Host) -> None:
        """Keep `settings`; do no work yet."""
        ...

    async def open(self) -> None:
        """Make ready. A hosting forge hands in here what was pushed while Kedge was down."""
        ...

    async def ensure_repo(self, repo: Repo) -> str:
        """Make the repository if it is not there (hosting forges) and return its URL. Safe twice."""
        ...

    def parse(self, headers: Mapping[str, str], body: bytes) -> Delivery | None:
        """Verify a webhook call and say what was pushed; `None` for a call that is no push.

        Raises `Unauthorized` for a missing or wrong signature, before anything is parsed.
        """
        ...

    async def resolve(self, repo: Repo, revision: str) -> Push:
        """The branch or commit `revision` as if it had just been pushed. Raises `NotFound`.

        Trusted only if it is on a branch of this repository itself: some forges find commits of forks too.
        """
        ...

    async def list_folder(self, repo: Repo, commit_hash: str, folder: str) -> tuple[str, ...]:
        """The names of the regular files directly in a folder of a commit; `""` is the root.

        Empty if there is no such folder; of very many files perhaps not all. Raises `NotFound` for an unknown
        repository or commit.
        """
        ...

    async def read_file(self, repo: Repo, commit_hash: str, path: str, *, limit: int) -> bytes:
        """A regular file of a commit. Raises `NotFound`, or `TooLarge` for more than `limit` bytes."""
        ...

    async def clone_source(self, repo: Repo, *, token: str) -> CloneSource:
        """How the runner of an attempt clones; `token` is the attempt's own.

        Code of anybody may see what this returns: it reads this repository and does nothing else.
        """
        ...

    async def report_status(self, report: BuildReport) -> None:
        """Tell the forge how a build stands: `queued`, `running` or `stopped`.

        Reports of one build come in order, one at a time, perhaps repeated; those of several builds at once.
        An error is tried again a few times, unless it is a `KedgeError` with a status below 500 other than
        `RateLimited`. A call that takes over half a minute is cancelled and counts as an error.
        """
        ...

    async def close(self) -> None:
        """Let go of every resource."""
        ...
