"""Who Kedge is to the registries that images are pulled from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from docker.auth import encode_header, resolve_repository_name

from kedge import CapacityUnavailable, ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kedge import Host
    from kedge_docker.settings import RegistrySettings


class Registries:
    """Credentials by registry. What `docker login` left for Kedge's user is not looked at."""

    def __init__(self, settings: Mapping[str, RegistrySettings], host: Host, *, table: str) -> None:
        """Read no secret yet. `table` is where the settings stand: `compute.docker`, say."""
        self._settings = settings
        self._host = host
        self.name = f"{table}.registries"

    def check(self) -> None:
        """Raise `ConfigError` for every password that is not there. Blocks."""
        mistakes: list[str] = []
        for registry in self._settings:
            try:
                self._credentials(registry)
            except ConfigError as error:
                mistakes += error.mistakes
        if mistakes:
            raise ConfigError(mistakes)

    def headers(self, image: str) -> dict[str, str]:
        """What a call of the engine carries that makes it pull an image. Blocks.

        A password in a file is read anew: some, as those of ECR, are good for hours only. Raises
        `CapacityUnavailable` while it is not there: whoever renews it may just be at it.
        """
        registry, _ = resolve_repository_name(image)
        if registry not in self._settings:
            return {}
        try:
            credentials = self._credentials(registry)
        except ConfigError as error:
            raise CapacityUnavailable(f"{image} cannot be pulled now ({error})") from error
        return {"X-Registry-Auth": encode_header(credentials).decode()}

    def _credentials(self, registry: str) -> dict[str, str]:
        settings = self._settings[registry]
        try:
            password = self._host.secret(settings.password)
        except ConfigError as error:
            place = f'{self.name}."{registry}".password'
            raise ConfigError([f"{place}: {mistake}" for mistake in error.mistakes]) from error
        return {"username": settings.username, "password": password, "serveraddress": registry}


def has_registry(image: str) -> bool:
    """Whether an image's name says where it is pulled from."""
    registry, _ = resolve_repository_name(image)
    return image.startswith(f"{registry}/")
