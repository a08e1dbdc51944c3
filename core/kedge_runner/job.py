"""What an attempt has to do, as Kedge tells it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Clone:
    """How the repository is got."""

    def __init__(self, data: dict[str, Any]) -> None:
        """Read the JSON of Kedge."""
        self.url: str = data["url"]
        self.username: str = data["username"]
        self.password: str = data["password"]
        self.local_path: str | None = data["local_path"]


class Deploy:
    """How the deploy command reaches Kedge."""

    def __init__(self, data: dict[str, Any]) -> None:
        """Read the JSON of Kedge."""
        self.url: str = data["url"]
        self.token: str = data["token"]
        self.account: str = data["account"]


class Job:
    """The work of one attempt."""

    def __init__(self, data: dict[str, Any]) -> None:
        """Read the JSON of Kedge."""
        self.build_uuid: str = data["build_uuid"]
        self.worker: str = data["worker"]
        self.branch: str = data["branch"]
        self.commit_hash: str = data["commit_hash"]
        self.is_production: bool = data["is_production"]
        self.clone = Clone(data["clone"])
        self.deploy = Deploy(data["deploy"])
        self.root_directory: str = data["root_directory"]
        self.build_command: str = data["build_command"]
        self.deploy_command: str = data["deploy_command"]
        self.variables: dict[str, str] = data["variables"]
        self.preview_alias: str | None = data["preview_alias"]
        self.timeout: float = data["timeout"]
        self.stop_grace: float = data["stop_grace"]
        self._secrets: list[str] = data["secrets"]

    @property
    def secrets(self) -> list[str]:
        """Everything that may never be shown."""
        return [*self._secrets, self.clone.password, self.deploy.token]
