"""Serves git's smart HTTP protocol through git's own server program."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse

from kedge import KedgeError, Unauthorized
from kedge_git.calls import Refused, parse_call, token_of
from kedge_git.child import running
from kedge_git.environment import environment, serving_config
from kedge_git.exchange import Exchange
from kedge_git.git import http_backend
from kedge_git.intake import Intake
from kedge_git.layout import Layout
from kedge_git.pushing import begin_push
from kedge_git.report import Reporter
from kedge_git.settings import GitSettings
from kedge_git.slots import Slots

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import ExitStack

    from starlette.types import Receive, Scope, Send

    from kedge import Host, Principal
    from kedge_git.calls import Call
    from kedge_git.pushing import Pushing

log = structlog.get_logger("git")

#: of a request that only reads: what a client has and wants
_QUESTION_LIMIT = 16 << 20
_CHALLENGE = {"WWW-Authenticate": 'Basic realm="Kedge: any user name, a token as password", charset="UTF-8"'}


class GitServer:
    """An ASGI application below `/git/{owner}/{repo}/{rest}`."""

    def __init__(self, host: Host) -> None:
        """Nothing is read before the first call: the forge opens later."""
        self._host = host
        self._layout = Layout.of(host)
        self._service: Service | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; whoever may not see a repository is told that it is not there."""
        headers = Headers(scope=scope)
        try:
            call = parse_call(scope, headers)
            caller = await self._admit(call, headers)
            await self._opened().serve(call, caller, headers, receive, send)
        except (KedgeError, Refused) as error:
            answer = PlainTextResponse(f"{error}\n", error.status, headers=_headers(error))
            await answer(scope, receive, send)

    async def _admit(self, call: Call, headers: Headers) -> Principal:
        token = token_of(headers)
        if token is None:
            raise Unauthorized("give a token as password; any user name will do")
        principal = await self._host.authenticate(token)
        await self._host.authorize_repo(principal, call.repo, write=call.writes)
        return principal

    def _opened(self) -> Service:
        if self._service is None:
            try:
                settings = GitSettings.model_validate_json(self._layout.settings.read_bytes())
            except FileNotFoundError:
                raise Refused(503, 'no repositories are hosted here: add "git" to [forges] use') from None
            self._layout = Layout.of(self._host, settings)
            self._service = Service(self._host, self._layout, settings)
        return self._service


class Service:
    """Runs git for calls that are allowed."""

    def __init__(self, host: Host, layout: Layout, settings: GitSettings) -> None:
        """Keep them."""
        self._layout = layout
        self._settings = settings
        self._config = serving_config(settings.max_push)
        self._reads = Slots(settings.concurrency, settings.slot_within)
        self._pushes = Slots(settings.pushes, settings.slot_within)
        self._intake = Intake(host, layout)
        self._reporter = Reporter(host, settings.followers if settings.follow else 0)

    async def serve(
        self, call: Call, caller: Principal, headers: Headers, receive: Receive, send: Send
    ) -> None:
        """Answer a call when there is a slot for it. Raises `Refused` while nothing has been sent."""
        limit = self._settings.max_push if call.pushes else _QUESTION_LIMIT
        if int(headers.get("content-length", "0")) > limit:
            raise Refused(413, f"this is more than the {limit} bytes that are allowed")
        slots = self._pushes if call.writes else self._reads
        with await slots.take(caller) as slot:
            if call.pushes:
                await self._push(call, receive, send, slot)
                return
            async with running([http_backend()], env=self._environment(call), cwd=self._layout.root) as child:
                await Exchange(child, receive, send, limit=limit, outlives=False).run()

    async def _push(self, call: Call, receive: Receive, send: Send, slot: ExitStack) -> None:
        async with begin_push(self._layout, call.repo) as pushing:
            env = self._environment(call, pushing.variables())
            try:
                async with running(
                    [http_backend()], env=env, cwd=self._layout.root, pass_fds=pushing.pass_fds
                ) as child:
                    pushing.let_go()
                    exchange = Exchange(child, receive, send, limit=self._settings.max_push, outlives=True)
                    await self._carry(exchange, pushing, slot)
            finally:
                await self._intake.settle(pushing.entry)

    async def _carry(self, exchange: Exchange, pushing: Pushing, slot: ExitStack) -> None:
        taking = asyncio.create_task(self._take_in(pushing, exchange.gone, slot))
        try:
            await exchange.run()
        except asyncio.CancelledError:
            taking.cancel()
            raise
        finally:
            exchange.gone.set()
            with suppress(asyncio.CancelledError):
                await taking

    async def _take_in(self, pushing: Pushing, gone: asyncio.Event, slot: ExitStack) -> None:
        """Take in what git has accepted, then show what comes of it: by then git's own work is done."""
        try:
            moved = await pushing.moved()
            if moved is not None:
                handed_in = await self._intake.hand_in_quietly(pushing.entry, moved)
                slot.close()
                await self._reporter.report(pushing, handed_in, gone)
        finally:
            pushing.end_reply()

    def _environment(self, call: Call, variables: dict[str, str] | None = None) -> dict[str, str]:
        return environment(
            self._layout,
            self._config,
            GIT_PROJECT_ROOT=str(self._layout.repos),
            GIT_COMMITTER_NAME="Kedge",
            GIT_COMMITTER_EMAIL="kedge@localhost",
            **call.variables(),
            **(variables or {}),
        )


def _headers(error: KedgeError | Refused) -> Mapping[str, str]:
    if isinstance(error, Refused):
        return error.headers
    return _CHALLENGE if isinstance(error, Unauthorized) else {}
