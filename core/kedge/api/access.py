"""Who is calling, and what they may do. Everything is refused that is not allowed here."""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from sqlmodel import col, select
from starlette.requests import Request

from kedge.contracts.host import Principal
from kedge.db.tables import Account, ApiToken, Attempt, Build
from kedge.errors import Forbidden, InvalidInput, NotFound, Unauthorized
from kedge.tokens import hash_token

if TYPE_CHECKING:
    from sqlmodel import Session
    from starlette.types import ASGIApp, Receive, Scope, Send

    from kedge.db.engine import Database

#: how long a token is believed without asking the database again
BELIEVED_SECONDS = 2.0
MOST_KNOWN = 1024
LONGEST_TOKEN = 512
UNKNOWN = (
    "the token is not known, or no longer good: give the one that is in admin.token in the node's data dir, "
    "or one that was made by POST /tokens"
)
READS = frozenset({"GET", "HEAD"})
#: all that the token of a build may do here: upload versions of its own worker
BUILD_ROUTES = re.compile(r"/workers/workers/[^/]+/versions/uploads(?:/.*)?")


class Access:
    """Knows tokens by their hashes."""

    def __init__(self, db: Database) -> None:
        """Nobody is known yet."""
        self._db = db
        self._known: OrderedDict[str, tuple[float, Principal]] = OrderedDict()

    async def authenticate(self, token: str) -> Principal:
        """Who `token` speaks for. Raises `Unauthorized`."""
        if not token or len(token) > LONGEST_TOKEN:
            raise Unauthorized("send a token: Authorization: Bearer TOKEN")
        token_hash = hash_token(token)
        known = self._known.get(token_hash)
        if known is not None and known[0] > time.monotonic():
            self._known.move_to_end(token_hash)
            return known[1]
        believed = self._known
        principal = await self._db.read(_find, token_hash)
        believed[token_hash] = (time.monotonic() + BELIEVED_SECONDS, principal)
        believed.move_to_end(token_hash)
        if len(believed) > MOST_KNOWN:
            believed.popitem(last=False)
        return principal

    def forget(self) -> None:
        """A token was revoked: ask the database about each one again."""
        # A new one: what was asked before the revocation is noted in the old one, where nobody looks.
        self._known = OrderedDict()


class AccountAccess:
    """ASGI middleware of everything below an account: sets `principal` and `account_id`."""

    def __init__(self, app: ASGIApp) -> None:
        """Guard `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the call through if its token allows it."""
        request = Request(scope)
        principal = await request.app.state.services.access.authenticate(bearer_token(request))
        _check_account(principal, request.path_params["account"])
        _check_rights(principal, scope["method"], scope["path"].removeprefix(scope["root_path"]))
        _check_text(scope)
        request.state.principal = principal
        request.state.account_id = principal.account_id
        await self._app(scope, receive, send)


def bearer_token(request: Request) -> str:
    """The token of a request. Raises `Unauthorized`."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthorized("send a token: Authorization: Bearer TOKEN")
    return token.strip()


def _check_account(principal: Principal, account: str) -> None:
    if account not in {principal.account_id, principal.account_name}:
        raise NotFound(f"there is no account {account[:80]!r}")


def _check_rights(principal: Principal, method: str, path: str) -> None:
    if principal.build_uuid is not None and not BUILD_ROUTES.fullmatch(path):
        raise Forbidden("the token of a build may deploy its own worker and nothing else")
    if method not in READS and not principal.can_write:
        raise Forbidden("this token may only read; use one that may write")


def _check_text(scope: Scope) -> None:
    """PostgreSQL takes no NUL in a text; nothing here has one in its name."""
    if "\0" in scope["path"] or b"%00" in scope["query_string"]:
        raise InvalidInput("an address holds no NUL character")


def _find(session: Session, token_hash: str) -> Principal:
    return _api_token(session, token_hash) or _deploy_token(session, token_hash)


def _api_token(session: Session, token_hash: str) -> Principal | None:
    row = session.exec(
        select(ApiToken, Account)
        .join(Account, col(Account.id) == ApiToken.account_id)
        .where(ApiToken.token_hash == token_hash, col(ApiToken.revoked_on).is_(None))
    ).one_or_none()
    if row is None:
        return None
    token, account = row
    return Principal(
        account_id=account.id, account_name=account.name, token_name=token.name, can_write=token.can_write
    )


def _deploy_token(session: Session, token_hash: str) -> Principal:
    row = session.exec(
        select(Attempt, Account, Build.trusted)
        .join(Account, col(Account.id) == Attempt.account_id)
        .join(Build, col(Build.id) == Attempt.build_id)
        .where(Attempt.deploy_token_hash == token_hash, col(Attempt.ended_on).is_(None))
    ).one_or_none()
    if row is None:
        raise Unauthorized(UNKNOWN)
    attempt, account, trusted = row
    return Principal(
        account_id=account.id,
        account_name=account.name,
        token_name=f"build {attempt.build_uuid[:8]}",
        can_write=trusted,
        build_uuid=attempt.build_uuid,
    )
