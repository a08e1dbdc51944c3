"""The engine, off the event loop, and its errors in Kedge's words."""

from __future__ import annotations

import asyncio
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar, cast
from urllib.parse import urlsplit

import docker
from docker.errors import APIError, DockerException, ImageNotFound
from requests.exceptions import RequestException

from kedge import CapacityUnavailable, ComputeError, ConfigError, StartRefused

if TYPE_CHECKING:
    from collections.abc import Callable

    from kedge_docker.settings import TlsSettings

T = TypeVar("T")

#: calls on their way at once
THREADS = 16
#: seconds for one answer of the engine
TIMEOUT = 60
FULL = ("no space left", "cannot allocate memory", "resource temporarily unavailable", "too many open files")


class EngineGone(CapacityUnavailable):
    """The engine does not answer."""


class NoImage(StartRefused):
    """The engine does not have the image."""


class Place(Protocol):
    """The settings that say which engine it is."""

    #: where they stand in a config file
    table: ClassVar[str]

    @property
    def engine(self) -> str:
        """Its address."""
        ...

    @property
    def tls(self) -> TlsSettings | None:
        """How it is known."""
        ...


class _Client(docker.APIClient):
    """Goes by what it was given: the environment's proxies and authorities are not for an engine."""

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        """What requests would take from the environment, before what the client was given."""
        return {"proxies": {}, "stream": stream, "verify": self.verify, "cert": self.cert}


class Engine:
    """A connection to one engine. Its methods may be called from the event loop alone."""

    def __init__(self, settings: Place) -> None:
        """Connect to nothing yet."""
        self._settings = settings
        self._threads = ThreadPoolExecutor(THREADS, "kedge-docker")
        self._api: docker.APIClient | None = None

    async def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method of the SDK's low-level client. Raises as it does, or `EngineGone`."""
        return await self.run(partial(_call, method, *args, **kwargs))

    async def run(self, work: Callable[[docker.APIClient], T]) -> T:
        """Call `work` with the client, in a thread. Raises as `work` does, or `EngineGone`."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._guarded, work)

    async def run_long(self, work: Callable[[docker.APIClient], T]) -> T:
        """As `run`, for what may take minutes: in a thread of its own that no end waits for."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def settle(result: T | None, error: BaseException | None) -> None:
            if not done.cancelled():
                done.set_exception(error) if error else done.set_result(cast("T", result))

        def run() -> None:
            result, failed = None, None
            try:
                result = self._guarded(work)
            except BaseException as error:  # noqa: BLE001  (whoever waits gets it)
                failed = error
            with suppress(RuntimeError):  # nobody is there any more
                loop.call_soon_threadsafe(settle, result, failed)

        threading.Thread(target=run, name="kedge-docker-long", daemon=True).start()
        return await done

    def _guarded(self, work: Callable[[docker.APIClient], T]) -> T:
        try:
            self._knock()
            return work(self._connected())
        except APIError:
            # an answer, though the SDK has it descend from errors of the connection
            raise
        except PermissionError as error:
            raise _not_allowed(self._settings) from error
        except (RequestException, OSError) as error:
            raise EngineGone(f"the Docker engine at {self._settings.engine} does not answer") from error

    def _knock(self) -> None:
        """Raise `OSError` if nobody listens: the SDK would leave a socket behind for each such call."""
        engine = urlsplit(self._settings.engine)
        if engine.scheme == "unix":
            with socket.socket(socket.AF_UNIX) as knocking:
                knocking.settimeout(TIMEOUT)
                knocking.connect(engine.path)

    def _connected(self) -> docker.APIClient:
        if self._api is None:
            tls = self._settings.tls
            try:
                config = tls and docker.TLSConfig(
                    client_cert=(str(tls.cert), str(tls.key)), ca_cert=str(tls.ca), verify=True
                )
                self._api = _Client(
                    base_url=self._settings.engine,
                    tls=config or False,
                    timeout=TIMEOUT,
                    version="auto",
                    max_pool_size=THREADS,
                )
            except DockerException as error:
                raise _cannot_connect(self._settings, error) from error
        return self._api

    async def close(self) -> None:
        """Let go of every connection."""
        if self._api is not None:
            await asyncio.to_thread(self._api.close)
        await asyncio.to_thread(self._threads.shutdown)


def _call(method: str, *args: Any, **kwargs: Any) -> Any:
    *arguments, api = args
    return getattr(api, method)(*arguments, **kwargs)


def _cannot_connect(place: Place, error: DockerException) -> Exception:
    text = str(error)
    if any(word in text for word in ("TLS", "SSL", "certificate", "HTTPS server")):
        return ConfigError([f"{place.table}.tls: {text}"])
    return EngineGone(f"the Docker engine at {place.engine} does not answer")


def _not_allowed(place: Place) -> ConfigError:
    mistake = (
        f"{place.table}.engine: {place.engine} may not be used by this user; add it to the group of the "
        "socket, and mind that whoever may use the engine is root on its machine"
    )
    return ConfigError([mistake])


def close_stream(stream: Any) -> None:
    """End a stream of the SDK's, whose own `close` leaves a descriptor behind. Blocks."""
    stream.close()
    response = getattr(stream, "_response", None)
    if response is not None:
        response.close()


def is_missing(error: APIError) -> bool:
    """Whether there is no such thing."""
    return error.status_code == 404


def is_conflict(error: APIError) -> bool:
    """Whether something of that name is there, or is in another state."""
    return error.status_code == 409


def refusal(error: APIError, image: str, *, table: str) -> ComputeError:
    """What a failed start means: whether another try may help, and what to do about `table` if none does."""
    said = str(error.explanation or error).strip()
    if isinstance(error, ImageNotFound) or (is_missing(error) and "image" in said.lower()):
        return NoImage(
            f"the Docker engine has no image {image}; build it there (Kedge's own by "
            f'configs/build-image/Dockerfile), pull it, set {table}.pull = "missing", or, unless the worker '
            f"names it, set {table}.image to another"
        )
    if any(word in said.lower() for word in FULL):
        return CapacityUnavailable(f"the Docker engine has no room for another build ({said})")
    if (error.status_code or 500) >= 500 and "runtime create failed" not in said:
        return CapacityUnavailable(f"the Docker engine cannot start a build now ({said})")
    return StartRefused(f"the Docker engine refuses the container: {said}")
