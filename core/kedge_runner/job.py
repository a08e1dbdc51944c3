"""What an attempt has to do, as Kedge tells it. Nothing here changes once it is read."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final


class Clone:
    """How the repository is got."""

    def __init__(self, data: dict[str, Any]) -> None:
        """Read the JSON of Kedge."""
        self.url: Final[str] = data["url"]
        self.username: Final[str] = data["username"]
        self.password: Final[str] = data["password"]
        self.local_path: Final[str | None] = data["local_path"]


class Deploy:
    """How the deploy command reaches Kedge."""

    def __init__(self, data: dict[str, Any]) -> None:
        """Read the JSON of Kedge."""
        self.url: Final[str] = data["url"]
        self.token: Final[str] = data["token"]
        self.account: Final[str] = data["account"]


class Job:
    """The work of one attempt."""

    def __init__(self, data: dict[str, Any]) -> None:
        """Read the JSON of Kedge."""
        self.build_uuid: Final[str] = data["build_uuid"]
        self.attempt: Final[int] = data["attempt"]
        self.worker: Final[str] = data["worker"]
        self.branch: Final[str] = data["branch"]
        self.commit_hash: Final[str] = data["commit_hash"]
        self.is_production: Final[bool] = data["is_production"]
        #: False for code of somebody who may not write to the repository
        self.trusted: Final[bool] = data["trusted"]
        self.clone: Final = Clone(data["clone"])
        #: `None` where the build may not deploy
        self.deploy: Final = Deploy(data["deploy"]) if data["deploy"] else None
        self.root_directory: Final[str] = data["root_directory"]
        self.build_command: Final[str] = data["build_command"]
        self.deploy_command: Final[str] = data["deploy_command"]
        self.variables: Final[dict[str, str]] = data["variables"]
        self.preview_alias: Final[str | None] = data["preview_alias"]
        self.timeout: Final[float] = data["timeout"]
        self.stop_grace: Final[float] = data["stop_grace"]
        #: `None` where caching is off
        self.cache: Final[dict[str, Any] | None] = data.get("cache")
        self._secrets: Final[list[str]] = data["secrets"]

    @property
    def secrets(self) -> list[str]:
        """Everything that may never be shown."""
        deploy = [self.deploy.token] if self.deploy else []
        return [*self._secrets, self.clone.password, *deploy]

    def names_of(self, values: set[str]) -> list[str]:
        """The secret variables that have one of these values."""
        secret = values & set(self._secrets)
        return sorted(name for name, value in self.variables.items() if value in secret)
