"""The routes that runners call: `/api/builds/{build_uuid}/…`, each with the token of its attempt."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter
from starlette.convertors import Convertor, register_url_convertor
from starlette.routing import Route

from kedge.api.envelope import ok
from kedge.api.operations import answers
from kedge.api.shapes.logs import AppendedShape, OrderShape
from kedge.build_states import Outcome, Status
from kedge.contracts.failures import Failure
from kedge.db.queries.lifecycle import Verdict
from kedge.errors import InvalidInput, TooLarge, Unauthorized

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from kedge.builds.runners import Runner, Runners

#: a runner sends at most this much log at once
CHUNK_LIMIT = 2 * 1024 * 1024
TIME = re.compile(r"[0-9]{1,15}")
REPORT_LIMIT = 256 * 1024

Word = Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,64}$")]
Moment = Annotated[int, Field(ge=0, lt=1 << 53)]


class Count(Convertor[int]):
    """A number in a path, as large as a database can keep; Starlette's own has no bound."""

    regex = "[0-9]{1,9}"

    def convert(self, value: str) -> int:
        """To what a handler gets."""
        return int(value)

    def to_string(self, value: int) -> str:
        """As it stands in a path."""
        return str(value)


register_url_convertor("count", Count())


class Progress(BaseModel):
    """The runner is at work."""

    model_config = ConfigDict(extra="forbid")

    attempt: int
    status: Literal["initializing", "running"]


class Phase(BaseModel):
    """A part of the attempt, and how it went."""

    model_config = ConfigDict(extra="forbid")

    name: Word
    started_ms: Moment
    duration_ms: Moment
    outcome: Word


class Stopped(BaseModel):
    """The runner is done."""

    model_config = ConfigDict(extra="forbid")

    attempt: int
    status: Literal["stopped"]
    outcome: Literal["success", "fail", "cancelled", "terminated"]
    failure: Failure | None = None
    message: str = Field(default="", max_length=4096)
    exit_code: int | None = Field(default=None, ge=-(2**31), lt=2**31)
    chunks: int = Field(ge=0)
    phases: list[Phase] = Field(default_factory=list, max_length=64)


REPORT: TypeAdapter[Progress | Stopped] = TypeAdapter(
    Annotated[Progress | Stopped, Field(discriminator="status")]
)


@answers(dict[str, Any])
async def job(request: Request) -> Response:
    """What the attempt has to do."""
    runner = await identify(request)
    return ok(await _runners(request).job(runner, _token(request)))


@answers(OrderShape)
async def status(request: Request) -> Response:
    """The attempt initializes, runs, or has stopped."""
    runner = await identify(request)
    report = REPORT.validate_json(await _body(request, REPORT_LIMIT))
    if report.attempt != runner.attempt.number:
        raise InvalidInput(f"the token is for attempt {runner.attempt.number}")
    if isinstance(report, Progress):
        return ok({"cancel": await _runners(request).status(runner, Status(report.status))})
    verdict = Verdict(
        outcome=Outcome(report.outcome),
        failure=report.failure,
        message=report.message,
        exit_code=report.exit_code,
        phases=[phase.model_dump() for phase in report.phases],
    )
    await _runners(request).stopped(runner, verdict, chunks=report.chunks)
    return ok({"cancel": False})


@answers(AppendedShape)
async def append_log(request: Request) -> Response:
    """One numbered chunk of log, as raw bytes."""
    runner = await identify(request)
    time_ms = request.query_params.get("time_ms", "")
    if not TIME.fullmatch(time_ms):
        raise InvalidInput("time_ms must be the time of the chunk in milliseconds since 1970")
    data = await _body(request, CHUNK_LIMIT)
    extent = await _runners(request).append(runner, request.path_params["number"], data, time_ms=int(time_ms))
    return ok({"next": extent.next_number, "cancel": False})


@answers(OrderShape)
async def heartbeat(request: Request) -> Response:
    """The runner lives, though it has nothing to say."""
    runner = await identify(request)
    return ok({"cancel": await _runners(request).heartbeat(runner)})


async def identify(request: Request) -> Runner:
    """Who calls, by the token of an attempt. Raises `Unauthorized` or `StaleAttempt`."""
    return await _runners(request).identify(request.path_params["build_uuid"], _token(request))


def _runners(request: Request) -> Runners:
    runners: Runners = request.app.state.services.runners
    return runners


def _token(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthorized("send the attempt's token as a bearer token")
    return token


async def _body(request: Request, limit: int) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise TooLarge(f"the body is over {limit} bytes")
        parts.append(part)
    return b"".join(parts)


routes = [
    Route("/api/builds/{build_uuid}/logs/{number:count}", append_log, methods=["POST"]),
    Route("/api/builds/{build_uuid}/job", job, methods=["GET"]),
    Route("/api/builds/{build_uuid}/status", status, methods=["PUT"]),
    Route("/api/builds/{build_uuid}/heartbeat", heartbeat, methods=["POST"]),
]
