"""Images that the engine does not have: pulled, or told why not."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from docker.errors import APIError, create_api_error_from_http_exception
from requests.exceptions import ConnectionError as NoConnection
from requests.exceptions import HTTPError, ReadTimeout
from urllib3.exceptions import ReadTimeoutError

from kedge import CapacityUnavailable, ComputeError, StartRefused, pull_is_hopeless
from kedge_docker.engine import NoImage

if TYPE_CHECKING:
    from collections.abc import Callable

    import docker
    from requests import Response

    from kedge_docker.engine import Engine
    from kedge_docker.registries import Registries

T = TypeVar("T")

#: seconds for which an engine that pulls may say nothing: it tells of every layer's progress
SILENCE = 60.0
NO_SUCH = frozenset({400, 404})


class Images:
    """Pulls an image once, however many starts wait for it."""

    def __init__(self, engine: Engine, registries: Registries, *, allowed: bool) -> None:
        """Pull nothing yet, and never anything unless `allowed`."""
        self._engine = engine
        self._registries = registries
        self._allowed = allowed
        self._pulls: dict[str, asyncio.Task[None]] = {}

    async def run(self, image: str, work: Callable[[docker.APIClient], T]) -> T:
        """Call `work`, as `Engine.run` does; if it finds no image, once more after a pull.

        Raises as `work` does, `StartRefused` if the image can never be pulled, and `CapacityUnavailable` if
        it may be later. A pull goes on when who waits for it is cancelled.
        """
        try:
            return await self._engine.run(work)
        except NoImage:
            if not self._allowed:
                raise
        await self._have(image)
        return await self._engine.run(work)

    async def _have(self, image: str) -> None:
        pull = self._pulls.get(image)
        if pull is None:
            pull = self._pulls[image] = asyncio.create_task(self._engine.run_long(partial(self._pull, image)))
            pull.add_done_callback(partial(self._done, image))
        await asyncio.wait([pull])
        if pull.cancelled():
            raise CapacityUnavailable(f"{image} is not pulled any more: this node is stopping")
        pull.result()

    async def look_up(self, image: str) -> None:
        """Return if the engine finds the image in its registry. Raises as a failed pull does."""
        await self._engine.run(partial(self._look_up, image))

    def close(self) -> None:
        """Wait for no pull any more."""
        for task in self._pulls.values():
            task.cancel()

    def _done(self, image: str, task: asyncio.Task[None]) -> None:
        del self._pulls[image]
        if not task.cancelled():
            task.exception()  # perhaps nobody waits for it any more

    def _pull(self, image: str, api: docker.APIClient) -> None:
        repository, tag = split_image(image)
        try:
            response = api.post(
                f"{api.base_url}/v{api.api_version}/images/create",
                params={"fromImage": repository, "tag": tag},
                headers=self._registries.headers(image),
                stream=True,
                timeout=SILENCE,
            )
            with response:
                raise_for_status(response)
                self._follow(image, response)
        except (ReadTimeout, NoConnection) as error:
            if not _is_silence(error):
                raise
            raise CapacityUnavailable(
                f"{image} cannot be pulled now: nothing has come of it for {SILENCE:.0f} s"
            ) from error
        except APIError as error:
            raise self._failed(image, error) from error

    def _look_up(self, image: str, api: docker.APIClient) -> None:
        url = f"{api.base_url}/v{api.api_version}/distribution/{quote(image)}/json"
        try:
            raise_for_status(api.get(url, headers=self._registries.headers(image), timeout=SILENCE))
        except APIError as error:
            raise self._failed(image, error) from error

    def _follow(self, image: str, response: Response) -> None:
        """Read what the engine tells of a pull, to its end: an engine that nobody listens to gives up."""
        for line in response.iter_lines():
            told: dict[str, Any] = json.loads(line) if line else {}
            if "error" in told:
                raise self._meaning(image, str(told["error"]), hopeless=False)

    def _failed(self, image: str, error: APIError) -> ComputeError:
        """What an engine's refusal to pull, or to look up, an image means."""
        said = str(error.explanation or error).strip()
        return self._meaning(image, said, hopeless=error.status_code in NO_SUCH)

    def _meaning(self, image: str, said: str, *, hopeless: bool) -> ComputeError:
        if hopeless or pull_is_hopeless(said):
            return StartRefused(
                f"{image} cannot be pulled ({said}); check the name of the image, and "
                f"[{self._registries.name}] if its registry wants to know who asks"
            )
        return CapacityUnavailable(f"{image} cannot be pulled now ({said})")


def raise_for_status(response: Response) -> None:
    """Raise the `APIError` that the SDK would raise."""
    try:
        response.raise_for_status()
    except HTTPError as error:
        create_api_error_from_http_exception(error)


def _is_silence(error: Exception) -> bool:
    return isinstance(error, ReadTimeout) or any(isinstance(one, ReadTimeoutError) for one in error.args)


def split_image(image: str) -> tuple[str, str | None]:
    """An image's repository and tag; a digest goes with the tag."""
    if "@" in image:
        repository, _, digest = image.partition("@")
        return repository, digest
    repository, colon, tag = image.rpartition(":")
    return (repository, tag) if colon and "/" not in tag else (image, "latest")
