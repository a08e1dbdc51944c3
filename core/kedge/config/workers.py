"""`[workers.NAME]`: a worker, what builds it and with which variables, as a file says it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from kedge.config.caches import Caches, CacheSpec
from kedge.config.checked import matching
from kedge.config.references import NO_REFERENCE, is_reference, resolve_secret

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

WORKER_NAME = re.compile(r"[a-z](?:[a-z0-9-]{0,56}[a-z0-9])?", re.ASCII)
VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)
REPO = re.compile(r"[a-z][a-z0-9_-]*:[A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+)*", re.ASCII)
BRANCH = re.compile(r"[^\x00-\x20\x7f~^:?*\[\\-][^\x00-\x20\x7f~^:?*\[\\]{0,254}")


def _command(text: str) -> str:
    if "\0" in text:
        raise ValueError("a command holds no NUL character")
    return text


def _branch(name: str) -> str:
    if not BRANCH.fullmatch(name) or ".." in name or name.endswith(("/", ".lock", ".")):
        raise ValueError('must be one branch by its name, such as "main"')
    return name


def _root(path: str) -> str:
    parts = [part for part in path.split("/") if part]
    if any(part in {".", ".."} for part in parts) or any(ord(letter) < 32 for letter in path):
        raise ValueError('must be a folder within the repository, such as "/" or "/site"')
    return "/" + "/".join(parts)


def _repo(text: str) -> str:
    if not REPO.fullmatch(text) or any(part in {".", ".."} for part in re.split("[:/]", text)):
        raise ValueError('must be FORGE:NAME or FORGE:OWNER/NAME, such as "git:hello" or "github:octo/site"')
    return text


def _label(text: str) -> str:
    if not text or len(text) > 255 or "\0" in text:
        raise ValueError("must be a name of 1 to 255 characters")
    return text


def _hook_name(text: str) -> str:
    if not 1 <= len(text) <= 58 or any(ord(letter) < 32 or letter == "\x7f" for letter in text):
        raise ValueError("a deploy hook's name is 1 to 58 characters, without control characters")
    return text


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


WorkerName = Annotated[
    str,
    matching(WORKER_NAME, "a worker's name is 1 to 58 of a-z, 0-9 and -, from a letter to a letter or digit"),
]
VariableName = Annotated[
    str, matching(VARIABLE_NAME, "a variable's name is letters, digits and _, and begins with no digit")
]
Command = Annotated[str, AfterValidator(_command)]
Root = Annotated[str, AfterValidator(_root)]
Branch = Annotated[str, AfterValidator(_branch)]
TriggerName = Annotated[str, AfterValidator(_label)]
HookName = Annotated[str, AfterValidator(_hook_name)]
Globs = Annotated[tuple[str, ...], BeforeValidator(_one_or_many)]


class Table(BaseModel):
    """A table of the file: frozen, and no key is known but its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class VariableSpec(Table):
    """A variable of builds: a plain `value`, or a `secret` by reference."""

    value: str | None = None
    secret: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _accept_text(cls, given: Any) -> Any:
        if isinstance(given, str):
            return {"value": given}
        if not isinstance(given, dict) or (set(given) == {"value"} and not isinstance(given["value"], str)):
            raise ValueError(
                'must be a text in quotes, or { secret = "env:NAME" } or { secret = "file:PATH" }'
            )
        return given

    @model_validator(mode="after")
    def _check(self) -> VariableSpec:
        if (self.value is None) == (self.secret is None):
            raise ValueError(
                'must be a text in quotes, or { secret = "env:NAME" } or { secret = "file:PATH" }'
            )
        if self.secret is not None and not is_reference(self.secret):
            raise ValueError(NO_REFERENCE)
        return self

    @property
    def is_secret(self) -> bool:
        """Whether its value may never be shown."""
        return self.secret is not None

    def resolve(self, base_dir: Path, environ: Mapping[str, str] | None = None) -> str:
        """The value itself, looked up if it is a reference. Raises `ConfigError`."""
        if self.secret is not None:
            return resolve_secret(self.secret, base_dir, environ)
        return self.value or ""


Variables = dict[VariableName, VariableSpec]


class GlobSpec(Table):
    """Patterns in which `*` stands for any run of characters; excludes win."""

    include: Globs = Field(default=("*",), description="Patterns that match.")
    exclude: Globs = Field(default=(), description="Patterns that do not, whatever `include` says.")


class PreviewSpec(Table):
    """What differs in builds of branches that are not the production branch."""

    build: Command | None = Field(default=None, description="Build command, if another one.")
    deploy: Command | None = Field(default=None, description="Deploy command, if another one.")
    variables: Variables = Field(
        default_factory=dict, description="Added to the worker's, and win over them."
    )


class TriggerSpec(Table):
    """One trigger that a worker's table makes."""

    name: str
    build_command: str
    deploy_command: str
    root_directory: str
    branch_includes: tuple[str, ...]
    branch_excludes: tuple[str, ...]
    path_includes: tuple[str, ...]
    path_excludes: tuple[str, ...]
    build_caching_enabled: bool
    build_caches: tuple[CacheSpec, ...]
    variables: Variables


class TriggerTable(Table):
    """A trigger said in full, for rules that production and previews cannot say."""

    build: Command = Field(default="", description="Command that builds; empty to build nothing.")
    deploy: Command = Field(default="", description="Command that deploys; empty to deploy nothing.")
    root: Root = Field(default="/", description="Folder of the repository in which the commands run.")
    branches: GlobSpec = Field(default_factory=GlobSpec, description="Which branches.")
    paths: GlobSpec = Field(default_factory=GlobSpec, description="Which changed files make a push count.")
    cache: bool = Field(default=False, description="Whether its builds keep folders for the next ones.")
    caches: Caches = Field(default=(), description="Folders to keep besides those that Kedge finds itself.")
    variables: Variables = Field(default_factory=dict, description="Variables of its builds.")

    def spec(self, name: str) -> TriggerSpec:
        """It under its name."""
        return TriggerSpec(
            name=name,
            build_command=self.build,
            deploy_command=self.deploy,
            root_directory=self.root,
            branch_includes=self.branches.include,
            branch_excludes=self.branches.exclude,
            path_includes=self.paths.include,
            path_excludes=self.paths.exclude,
            build_caching_enabled=self.cache,
            build_caches=self.caches,
            variables=self.variables,
        )


class WorkerSpec(Table):
    """A worker as a file describes it."""

    build: Command = Field(default="", description="Command that builds; empty to build nothing.")
    deploy: Command = Field(default="", description="Command that deploys; empty to deploy nothing.")
    root: Root = Field(default="/", description="Folder of the repository in which the commands run.")
    repo: Annotated[str, AfterValidator(_repo)] | None = Field(
        default=None, description="FORGE:NAME; without it, a repository of the worker's name hosted by Kedge."
    )
    branch: Branch = Field(default="main", description="The production branch.")
    previews: bool = Field(default=True, description="Whether other branches are built too.")
    branches: GlobSpec = Field(default_factory=GlobSpec, description="Which other branches.")
    paths: GlobSpec = Field(default_factory=GlobSpec, description="Which changed files make a push count.")
    cache: bool = Field(default=False, description="Whether builds keep folders for the next ones.")
    caches: Caches = Field(default=(), description="Folders to keep besides those that Kedge finds itself.")
    variables: Variables = Field(default_factory=dict, description="Variables of every build.")
    preview: PreviewSpec = Field(default_factory=PreviewSpec, description="What differs in previews.")
    trigger: dict[TriggerName, TriggerTable] | None = Field(
        default=None,
        description="Triggers by name, each in full, instead of production and previews.",
    )
    hooks: dict[HookName, Branch] = Field(
        default_factory=dict, description="Deploy hooks by name, each with the branch that it builds."
    )

    @model_validator(mode="after")
    def _check_triggers(self) -> WorkerSpec:
        unused = self.model_fields_set - {"trigger", "hooks", "repo"}
        if self.trigger is not None and unused:
            raise ValueError(f"`trigger` says each trigger in full: move {', '.join(sorted(unused))} there")
        return self

    def repository(self, name: str) -> str:
        """The worker's repository as `FORGE:NAME`; `name` is the worker's."""
        return self.repo or f"git:{name}"

    def triggers(self) -> tuple[TriggerSpec, ...]:
        """The production trigger and, unless switched off, the preview trigger; or those said one by one."""
        if self.trigger is not None:
            return tuple(table.spec(name) for name, table in self.trigger.items())
        production = self._trigger(
            "production", includes=(self.branch,), excludes=(), differing=PreviewSpec()
        )
        if not self.previews:
            return (production,)
        excludes = (self.branch, *(one for one in self.branches.exclude if one != self.branch))
        includes = self.branches.include
        return (
            production,
            self._trigger("preview", includes=includes, excludes=excludes, differing=self.preview),
        )

    def _trigger(
        self, name: str, *, includes: tuple[str, ...], excludes: tuple[str, ...], differing: PreviewSpec
    ) -> TriggerSpec:
        return TriggerSpec(
            name=name,
            build_command=self.build if differing.build is None else differing.build,
            deploy_command=self.deploy if differing.deploy is None else differing.deploy,
            root_directory=self.root,
            branch_includes=includes,
            branch_excludes=excludes,
            path_includes=self.paths.include,
            path_excludes=self.paths.exclude,
            build_caching_enabled=self.cache,
            build_caches=self.caches,
            variables={**self.variables, **differing.variables},
        )
