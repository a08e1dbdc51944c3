"""The hooks themselves. No other file knows pluggy's plugin manager."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pluggy

from kedge import hookspecs
from kedge.config import nearest
from kedge.errors import PluginError
from kedge.hookspecs import PROJECT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kedge.registry.installed import Installed

REGISTERS = "kedge_register_"


@dataclass(frozen=True, kw_only=True)
class Implementation:
    """One plugin's function for one hook."""

    plugin: Installed
    hook: str
    function: Callable[..., Any]
    #: which of the hook's arguments it takes
    arguments: tuple[str, ...]

    def call(self, arguments: dict[str, Any]) -> Any:
        """Call it with as many of `arguments` as it asks for."""
        return self.function(**{name: arguments[name] for name in self.arguments})


class Hooks:
    """Loaded plugins and what they implement."""

    def __init__(self) -> None:
        """Know the hooks; load nothing yet."""
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._plugins: dict[str, Installed] = {}

    @property
    def plugins(self) -> tuple[Installed, ...]:
        """What is loaded, in the order in which it was."""
        return tuple(self._plugins.values())

    @property
    def names(self) -> tuple[str, ...]:
        """Every hook, in the order of `hookspecs`."""
        return tuple(name for name in vars(hookspecs) if name.startswith("kedge_"))

    def load(self, plugin: Installed) -> None:
        """Import a plugin and take its hooks. Raises `PluginError` with all that is wrong with them."""
        module = plugin.import_()
        mistakes = list(self._mistakes(module))
        if mistakes:
            raise PluginError("\n".join(f"{plugin.label}: {mistake}" for mistake in mistakes))
        self._manager.register(module, name=plugin.name)
        self._plugins[plugin.name] = plugin

    def implementations(self, hook: str) -> tuple[Implementation, ...]:
        """Who implements a hook, in the order in which they are called: as the settings name them.

        `tryfirst` and `trylast` count. pluggy itself would call the last one loaded first.
        """
        found = getattr(self._manager.hook, hook).get_hookimpls()
        return tuple(
            Implementation(
                plugin=self._plugins[one.plugin_name],
                hook=hook,
                function=one.function,
                arguments=tuple(one.argnames),
            )
            for one in sorted(found, key=lambda one: one.trylast - one.tryfirst)
        )

    def _mistakes(self, module: Any) -> Iterator[str]:
        for name in dir(module):
            options = self._manager.parse_hookimpl_opts(module, name)
            function = getattr(module, name, None)
            if options is not None:
                yield from self._implementation_mistakes(options["specname"] or name, function, options)
            elif name in self.names and inspect.isfunction(function):
                yield f"the hook {name} is not marked; write `@hookimpl` above it"

    def _implementation_mistakes(self, hook: str, function: Any, options: Any) -> Iterator[str]:
        if hook not in self.names:
            if not options["optionalhook"]:
                yield f"there is no hook {hook}{nearest(hook, self.names) or '; see `kedge plugins`'}"
            return
        if options["wrapper"] or options["hookwrapper"]:
            yield f"the hook {hook} cannot be wrapped; implement it plainly"
        known = list(inspect.signature(getattr(hookspecs, hook)).parameters)
        for argument in inspect.signature(function).parameters.values():
            if argument.name not in known and argument.default is inspect.Parameter.empty:
                likely = nearest(argument.name, known)
                yield (
                    f'the hook {hook} has no argument "{argument.name}"{likely or ";"} '
                    f"it has: {', '.join(known) or 'none'}"
                )
