"""What a git client may ask for, and by whom it says to be sent."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from kedge import InvalidInput, NotFound, Repo
from kedge_git.layout import FORGE, check_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.datastructures import Headers
    from starlette.types import Scope

_UPLOAD, _RECEIVE = "git-upload-pack", "git-receive-pack"
_PROTOCOL = re.compile(r"[a-z0-9=:.-]{1,64}")
_GZIP = frozenset({"gzip", "x-gzip"})
_SUFFIX = ".git"
#: slashes in `/git/OWNER/REPO/`
_BEFORE_REST = 4


class Refused(Exception):
    """A call that HTTP itself has an answer for."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        """`status` is HTTP's, and so are the names of `headers`."""
        self.status = status
        self.headers = dict(headers or {})
        super().__init__(message)


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request of git's smart HTTP protocol."""

    repo: Repo
    service: str
    method: str
    #: `info/refs` or the service itself
    rest: str
    protocol: str
    gzipped: bool

    @property
    def writes(self) -> bool:
        """Whether the caller must be allowed to push."""
        return self.service == _RECEIVE

    @property
    def pushes(self) -> bool:
        """Whether this call carries a push; else it only reads."""
        return self.writes and self.method == "POST"

    def variables(self) -> dict[str, str]:
        """The call as a CGI program is told of it; nothing here is what a client wrote, unchecked."""
        variables = {
            "REQUEST_METHOD": self.method,
            "PATH_INFO": f"/{self.repo.owner}/{self.repo.name}.git/{self.rest}",
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": self.protocol,
        }
        if self.method == "GET":
            variables["QUERY_STRING"] = f"service={self.service}"
        else:
            variables["CONTENT_TYPE"] = _content_type(self.service)
        if self.gzipped:
            variables["HTTP_CONTENT_ENCODING"] = "gzip"
        return variables


def parse_call(scope: Scope, headers: Headers) -> Call:
    """Understand a request. Raises `Refused`, or `NotFound` for what no git client asks of this server."""
    rest = scope["path"].split("/", _BEFORE_REST)[_BEFORE_REST]
    expected = "GET" if rest == "info/refs" else "POST"
    service = _service_asked(scope) if rest == "info/refs" else rest
    if service not in {_UPLOAD, _RECEIVE}:
        raise NotFound("only git's smart HTTP protocol is served here; use git 1.6.6 or later")
    if scope["method"] != expected:
        raise Refused(405, f"use {expected}")
    encoding = headers.get("content-encoding", "")
    if expected == "POST" and (
        headers.get("content-type") != _content_type(service) or encoding not in {"", "identity", *_GZIP}
    ):
        raise Refused(415, f"send {_content_type(service)}, plain or gzip")
    protocol = headers.get("git-protocol", "")
    return Call(
        repo=_repo(scope),
        service=service,
        method=expected,
        rest=rest,
        protocol=protocol if _PROTOCOL.fullmatch(protocol) else "",
        gzipped=expected == "POST" and encoding in _GZIP,
    )


def token_of(headers: Headers) -> str | None:
    """The password of Basic, or the token of Bearer authorization."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip() or None
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(value, validate=True).decode().partition(":")[2] or None
    except (binascii.Error, UnicodeDecodeError):
        return None


def _repo(scope: Scope) -> Repo:
    owner, repo = scope["path_params"]["owner"], scope["path_params"]["repo"]
    if not repo.endswith(_SUFFIX):
        raise NotFound(f"the URL of a repository ends in {_SUFFIX}")
    name = repo.removesuffix(_SUFFIX)
    try:
        check_name(owner)
        check_name(name)
    except InvalidInput:
        raise NotFound("there is no such repository") from None
    return Repo(forge=FORGE, owner=owner, name=name)


def _service_asked(scope: Scope) -> str:
    asked = parse_qs(scope["query_string"].decode("latin-1")).get("service", [])
    return asked[0] if len(asked) == 1 else ""


def _content_type(service: str) -> str:
    return f"application/x-{service}-request"
