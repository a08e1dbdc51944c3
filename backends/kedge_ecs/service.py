"""Calls of ECS: off the event loop, with every error translated."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError, ProfileNotFound

from kedge import CapacityUnavailable, ComputeError, ConfigError, StartRefused

if TYPE_CHECKING:
    from collections.abc import Callable

    from kedge_ecs.settings import EcsSettings, PlaceSettings

#: what heals without another configuration
PASSING = frozenset(
    {
        "ThrottlingException",
        "Throttling",
        "RequestLimitExceeded",
        "TooManyRequestsException",
        "LimitExceededException",
        "ServerException",
        "InternalFailure",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "UpdateInProgressException",
    }
)
#: signatures that are too old or too new, and sessions that are over
CLOCK = frozenset(
    {
        "RequestExpired",
        "SignatureDoesNotMatch",
        "InvalidSignatureException",
        "ExpiredTokenException",
        "ExpiredToken",
    }
)
ADVICE = {
    "AccessDeniedException": "give Kedge's role the rights of configs/aws/kedge-node-policy.json",
    "UnrecognizedClientException": "AWS does not know these credentials; check where Kedge gets them",
    "MissingAuthenticationTokenException": "AWS got no credentials; check where Kedge gets them",
    "ClusterNotFoundException": "check compute.ecs.cluster and region",
    "InvalidParameterException": "check [compute.ecs], its subnets and security groups above all",
    "PlatformTaskDefinitionIncompatibilityException": "check cpu, memory and launch_type in [compute.ecs]",
}
#: reasons of `failures[]` that pass
BUSY = ("RESOURCE:", "AGENT", "Capacity is unavailable", "INACTIVE_INSTANCE")


class StartedBefore(StartRefused):
    """Another start of the same attempt, asked for otherwise, came first."""


class Service:
    """One client, and the threads that its calls wait in."""

    def __init__(self, settings: EcsSettings, place: PlaceSettings) -> None:
        """Connect to nothing."""
        self._settings = settings
        self._place = place
        self._threads = ThreadPoolExecutor(settings.connections, "kedge-ecs")

    async def open(self) -> None:
        """Make the client. Raises `ConfigError` for a profile or region that is not there."""
        self._client = await asyncio.to_thread(self._make)

    @property
    def region(self) -> str:
        """Where it calls, once it is open."""
        region: str = self._client.meta.region_name
        return region

    async def call(self, operation: str, **given: Any) -> dict[str, Any]:
        """One operation by its snake-case name. Raises `CapacityUnavailable` or `StartRefused`."""
        method: Callable[..., dict[str, Any]] = getattr(self._client, operation)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, partial(method, **given))
        except (ClientError, BotoCoreError) as error:
            raise translate(error) from error

    async def close(self) -> None:
        """Wait for calls under way, each of which has a time limit, and let go."""
        await asyncio.to_thread(self._threads.shutdown)
        self._client.close()

    def _make(self) -> Any:
        settings = self._settings
        config = Config(
            # a few quick tries; whoever waits longer does so with a reason that users see
            retries={"mode": "standard", "total_max_attempts": settings.attempts},
            connect_timeout=settings.connect_timeout,
            read_timeout=settings.read_timeout,
            max_pool_connections=settings.connections,
            tcp_keepalive=True,
            user_agent_extra="kedge",
        )
        try:
            session = boto3.Session(profile_name=settings.profile, region_name=self._place.region)
            return session.client("ecs", endpoint_url=settings.endpoint, config=config)
        except ProfileNotFound as error:
            raise ConfigError([f"compute.ecs.profile: {error}"]) from error
        except NoRegionError as error:
            raise ConfigError(["compute.ecs.region: give the region of the cluster"]) from error


def translate(error: ClientError | BotoCoreError) -> ComputeError:
    """What an error means for a build: it waits, or it can never start."""
    if isinstance(error, NoCredentialsError):
        return StartRefused(
            "Kedge has no AWS credentials; give its machine a role, or set the usual variables"
        )
    if not isinstance(error, ClientError):
        return CapacityUnavailable(f"ECS does not answer ({error})")
    code = error.response.get("Error", {}).get("Code", "")
    said = error.response.get("Error", {}).get("Message", "")
    if code == "ConflictException":
        return StartedBefore(f"the attempt was started before with other settings ({said})")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
    if code in CLOCK:
        return CapacityUnavailable(
            f"AWS does not take the signature ({code}: {said}); check the clock of Kedge's machine, "
            "or renew its credentials"
        )
    if code in PASSING or status >= 500:
        return CapacityUnavailable(f"ECS has no room for the call now ({code}: {said})")
    return StartRefused(f"ECS refuses ({code}: {said}); {ADVICE.get(code, 'check [compute.ecs]')}")


def translate_failure(failure: dict[str, Any]) -> ComputeError:
    """The same for an entry of `failures[]`."""
    said = ": ".join(failure[name] for name in ("reason", "detail") if failure.get(name))
    if said.startswith(BUSY):
        return CapacityUnavailable(f"the ECS cluster has no room for another build ({said})")
    return StartRefused(f"ECS cannot start the task ({said}); check [compute.ecs]")
