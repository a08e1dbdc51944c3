"""The typed face of the plugins: classes by name, routes and commands, and an event for each hook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from kedge.config import mistakes_of, read
from kedge.errors import ConfigError, KedgeError, PluginError
from kedge.registry.events import Events
from kedge.registry.hooks import REGISTERS
from kedge.registry.kinds import BLOBS, COMPUTE, FORGES, LOGS, PLACEMENT, REQUESTS, RUNTIME, Kind
from kedge.registry.loading import Loaded, Registered, load_plugins, read_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import typer
    from starlette.routing import BaseRoute

    from kedge.config import Settings
    from kedge.contracts.blobs import BlobStore
    from kedge.contracts.compute import Compute
    from kedge.contracts.forge import Forge
    from kedge.contracts.host import Host
    from kedge.contracts.log_store import LogStore
    from kedge.contracts.placement import Placement
    from kedge.contracts.request_placement import RequestPlacement
    from kedge.contracts.runtime import Runtime
    from kedge.registry.installed import Installed


def load_and_register(
    path: Path | None,
    environ: Mapping[str, str],
    overrides: Mapping[str, Any],
    *,
    placements: Mapping[str, type[Placement]] | None = None,
) -> tuple[Settings, Registry]:
    """Settings and the plugins they name. Raises `ConfigError` with the mistakes of both at once."""
    draft = read(path, environ, overrides)
    loaded = load_plugins(draft.settings, placements or {})
    mistakes = [*map(str, draft.mistakes), *loaded.faults, *map(str, loaded.mistakes)]
    if mistakes:
        raise ConfigError(mistakes)
    return draft.settings, Registry(loaded)


class Registry(Events):
    """What the settings chose. Made once, at the start, by `load`."""

    def __init__(self, loaded: Loaded) -> None:
        """Take what was loaded without a fault."""
        super().__init__(loaded.hooks)
        self._hooks = loaded.hooks
        self._classes = loaded.classes

    @classmethod
    def load(cls, settings: Settings, *, placements: Mapping[str, type[Placement]] | None = None) -> Registry:
        """Load the plugins that `settings` name and no others; `placements` are Kedge's own strategies.

        Raises `PluginError` for everything that is wrong with a plugin, and `ConfigError` if only
        tables are.
        """
        loaded = load_plugins(settings, placements or {})
        if loaded.faults:
            raise PluginError("\n".join([*loaded.faults, *map(str, loaded.mistakes)]))
        if loaded.mistakes:
            raise ConfigError([str(mistake) for mistake in loaded.mistakes])
        return cls(loaded)

    @property
    def plugins(self) -> tuple[Installed, ...]:
        """The loaded plugins."""
        return self._hooks.plugins

    def build_compute(self, settings: Settings, host: Host) -> Compute:
        """The compute backend, not yet opened."""
        compute: Compute = self._build(COMPUTE, settings.compute.use, settings, host)
        return compute

    def build_runtime(self, settings: Settings, host: Host) -> Runtime | None:
        """What runs deployed workers, not yet opened; `None` if this node runs none."""
        (name,) = RUNTIME.chosen(settings)
        if RUNTIME.is_left_open(settings) and name not in self._classes[RUNTIME.section]:
            return None
        runtime: Runtime = self._build(RUNTIME, name, settings, host)
        return runtime

    def build_blobs(self, settings: Settings, host: Host) -> BlobStore:
        """The blob store, not yet opened."""
        blobs: BlobStore = self._build(BLOBS, settings.blobs.use, settings, host)
        return blobs

    def build_log_store(self, settings: Settings, host: Host) -> LogStore:
        """The log store, not yet opened."""
        logs: LogStore = self._build(LOGS, settings.logs.use, settings, host)
        return logs

    def build_forges(self, settings: Settings, host: Host) -> dict[str, Forge]:
        """The forges by name, not yet opened."""
        return {name: self._build(FORGES, name, settings, host) for name in settings.forges.use}

    def build_placement_chain(
        self, settings: Settings, host: Host, core: Mapping[str, type[Placement]]
    ) -> list[Placement]:
        """The strategies in their order; `core` are Kedge's own."""
        own = {name: Registered(cls=cls, plugin=None) for name, cls in core.items()}
        return [self._build(PLACEMENT, name, settings, host, own) for name in settings.placement.chain]

    def build_request_placement(self, settings: Settings, host: Host) -> RequestPlacement | None:
        """The policy that decides where requests run; `None` if none is chosen."""
        name = settings.requests.use
        if name is None:
            return None
        policy: RequestPlacement = self._build(REQUESTS, name, settings, host)
        return policy

    def routes(self, host: Host) -> list[BaseRoute]:
        """Routes to serve beside the API."""
        return self._all("kedge_register_routes", host=host)

    def commands(self) -> list[tuple[str, typer.Typer | Callable[..., Any]]]:
        """Commands of plugins, each with its name."""
        return self._all("kedge_register_commands")

    def log_processors(self) -> list[Callable[..., Any]]:
        """structlog processors of plugins."""
        return self._all("kedge_register_log_processors")

    def describe(self) -> list[dict[str, Any]]:
        """Every hook with who implements it, as JSON."""
        return [
            {
                "name": hook,
                "kind": "register" if hook.startswith(REGISTERS) else "event",
                "implementers": [
                    {
                        "plugin": one.plugin.name,
                        "distribution": one.plugin.distribution,
                        "version": one.plugin.version,
                        "module": one.function.__module__,
                    }
                    for one in self._hooks.implementations(hook)
                ],
            }
            for hook in self._hooks.names
        ]

    def _build(
        self,
        kind: Kind,
        name: str,
        settings: Settings,
        host: Host,
        core: Mapping[str, Registered] | None = None,
    ) -> Any:
        registered = {**self._classes[kind.section], **(core or {})}.get(name)
        if registered is None:
            raise PluginError(f'no {kind.noun} "{name}" is loaded; name its plugin in the settings')
        try:
            table = read_table(kind, name, registered.cls, settings)
            return registered.cls(settings=table, host=host)
        except ValidationError as error:
            found = mistakes_of(error, registered.cls.Settings, settings.sources, (kind.section, name))
            raise ConfigError([str(mistake) for mistake in found]) from error
        except KedgeError:
            raise
        except Exception as error:
            raise _failed(registered, f'could not make its {kind.noun} "{name}"', error) from error

    def _all(self, hook: str, **arguments: Any) -> list[Any]:
        given: list[Any] = []
        for one in self._hooks.implementations(hook):
            try:
                given.extend(one.call(arguments))
            except Exception as error:
                raise one.plugin.failed(f"failed in {hook}", error) from error
        return given


def _failed(registered: Registered, what: str, error: Exception) -> Exception:
    # A fault of Kedge's own class is a fault of Kedge: let it show as it is.
    return error if registered.plugin is None else registered.plugin.failed(what, error)
