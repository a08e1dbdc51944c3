"""Who Kedge is to the registries that images are pulled from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from docker.auth import encode_header, resolve_repository_name

from kedge import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kedge import Host
    from kedge_docker.settings import RegistrySettings


class Registries:
    """Credentials by registry. What `docker login` left for Kedge's user is not looked at."""

    def __init__(self, settings: Mapping[str, RegistrySettings], host: Host) -> None:
        """Read no secret yet."""
        self._settings = settings
        self._host = host

    def check(self) -> None:
        """Raise `ConfigError` for every password that is not there. Blocks."""
        mistakes: list[str] = []
        for registry in self._settings:
            try:
                self._credentials(registry)
            except ConfigError as error:
                mistakes += [f"compute.docker.registries.{registry!r}: {said}" for said in error.mistakes]
        if mistakes:
            raise ConfigError(mistakes)

    def headers(self, image: str) -> dict[str, str]:
        """What a call of the engine carries that makes it pull an image. Blocks.

        A password in a file is read anew: some, as those of ECR, are good for hours only.
        """
        registry, _ = resolve_repository_name(image)
        if registry not in self._settings:
            return {}
        return {"X-Registry-Auth": encode_header(self._credentials(registry)).decode()}

    def _credentials(self, registry: str) -> dict[str, str]:
        settings = self._settings[registry]
        password = self._host.secret(settings.password)
        return {"username": settings.username, "password": password, "serveraddress": registry}


def has_registry(image: str) -> bool:
    """Whether an image's name says where it is pulled from."""
    registry, _ = resolve_repository_name(image)
    return image.startswith(f"{registry}/")
