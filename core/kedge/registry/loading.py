"""Loading what the settings name, and finding everything that is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from kedge.config import Mistake, choices, mistakes_of, nearest
from kedge.errors import PluginError
from kedge.registry.checks import problems_of
from kedge.registry.hooks import Hooks
from kedge.registry.installed import Installed, find_installed
from kedge.registry.kinds import KINDS, PLACEMENT, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kedge.config import Settings
    from kedge.config.sources import KeyPath


@dataclass(frozen=True, kw_only=True)
class Registered:
    """A class that can be chosen by its name. Kedge's own has no plugin."""

    cls: type[Any]
    plugin: Installed | None


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What came of loading. `faults` are of plugins, `mistakes` of their tables."""

    installed: dict[str, list[Installed]]
    hooks: Hooks
    #: by section and name
    classes: dict[str, dict[str, Registered]]
    faults: list[str] = field(default_factory=list)
    mistakes: list[Mistake] = field(default_factory=list)
    #: names of plugins whose faults are told already
    broken: set[str] = field(default_factory=set)


def load_plugins(settings: Settings, placements: Mapping[str, type[Any]]) -> Loaded:
    """Load the plugins that `settings` name, each once, and check their classes and tables."""
    own = {name: Registered(cls=cls, plugin=None) for name, cls in placements.items()}
    loaded = Loaded(
        installed=find_installed(),
        hooks=Hooks(),
        classes={kind.section: dict(own) if kind is PLACEMENT else {} for kind in KINDS},
    )
    _load_named(settings, loaded)
    for kind in KINDS:
        loaded.faults.extend(_collect(kind, loaded))
        loaded.faults.extend(_not_found(kind, settings, loaded))
        loaded.mistakes.extend(_table_mistakes(kind, settings, loaded))
    return loaded


def _named(settings: Settings) -> Iterator[tuple[str, KeyPath]]:
    for index, name in enumerate(settings.plugins):
        yield name, ("plugins", index)
    for kind in KINDS:
        for name in kind.chosen(settings):
            yield name, (kind.section, kind.key)


def _load_named(settings: Settings, loaded: Loaded) -> None:
    done: set[str] = set()
    for name, path in _named(settings):
        # What a section chooses may also be a class of a plugin of another name.
        if name in done or (path[0] != "plugins" and name not in loaded.installed):
            continue
        done.add(name)
        try:
            loaded.hooks.load(_the_one(name, loaded.installed))
        except PluginError as error:
            loaded.broken.add(name)
            where = settings.sources.where(path)
            loaded.faults.append(str(Mistake(where=where, path=path, message=str(error))))


def _the_one(name: str, installed: dict[str, list[Installed]]) -> Installed:
    found = installed.get(name, [])
    if not found:
        likely = nearest(name, installed) or ";"
        raise PluginError(f'no plugin "{name}" is installed{likely} installed: {choices(installed)}')
    if len(found) > 1:
        both = " and ".join(one.distribution for one in found)
        raise PluginError(f'the plugin name "{name}" is used by {both}; uninstall all but one')
    return found[0]


def _collect(kind: Kind, loaded: Loaded) -> Iterator[str]:
    """Take the classes that plugins register; yield what is wrong with them."""
    for implementation in loaded.hooks.implementations(kind.hook):
        plugin = implementation.plugin
        try:
            given = implementation.call({})
        except Exception as error:  # noqa: BLE001  (a plugin may raise anything)
            loaded.broken.add(plugin.name)
            yield str(plugin.failed(f"failed in {kind.hook}", error))
            continue
        if not isinstance(given, (list, tuple)):
            loaded.broken.add(plugin.name)
            yield f"{plugin.label}: {kind.hook} must return a list of classes"
            continue
        for cls in given:
            for fault in _take(kind, cls, plugin, loaded.classes[kind.section]):
                loaded.broken.add(plugin.name)
                yield f"{plugin.label}: {fault}"


def _take(kind: Kind, cls: Any, plugin: Installed, classes: dict[str, Registered]) -> Iterator[str]:
    problems = list(problems_of(cls, kind.contract))
    if problems:
        name = getattr(cls, "__qualname__", repr(cls))
        yield from (f"the {kind.noun} {name} {problem}" for problem in problems)
    elif cls.name in classes or cls.name in kind.reserved:
        other = classes[cls.name].plugin if cls.name in classes else None
        owner = other.label if other else "Kedge itself"
        yield f'the name of its {kind.noun} "{cls.name}" is taken by {owner}'
    else:
        classes[cls.name] = Registered(cls=cls, plugin=plugin)


def _not_found(kind: Kind, settings: Settings, loaded: Loaded) -> Iterator[str]:
    classes = loaded.classes[kind.section]
    for name in kind.chosen(settings):
        if name in classes or name in kind.reserved or name in loaded.broken or kind.is_left_open(settings):
            continue
        if name in loaded.installed:
            message = f'the plugin "{name}" has no {kind.noun} of that name; there is: {choices(classes)}'
        else:
            likely = nearest(name, {*classes, *kind.reserved, *loaded.installed}) or ";"
            message = (
                f'no {kind.noun} "{name}" is installed{likely} installed plugins: {choices(loaded.installed)}'
            )
        path = (kind.section, kind.key)
        yield str(Mistake(where=settings.sources.where(path), path=path, message=message))


def _table_mistakes(kind: Kind, settings: Settings, loaded: Loaded) -> Iterator[Mistake]:
    """What is wrong in the tables of chosen classes, and tables that can be nobody's."""
    section, chosen, classes = kind.tables(settings), kind.chosen(settings), loaded.classes[kind.section]
    for name in chosen:
        if name in classes:
            try:
                read_table(kind, name, classes[name].cls, settings)
            except ValidationError as error:
                model: type[BaseModel] = classes[name].cls.Settings
                yield from mistakes_of(error, model, settings.sources, (kind.section, name))
    known = {*chosen, *classes, *kind.reserved, *loaded.installed}
    for name in section.tables:
        if name not in known:
            path = (kind.section, name)
            yield Mistake(
                where=settings.sources.where(path),
                path=path,
                message=f"is the table of no {kind.noun} that is installed{nearest(name, known)}",
            )


def read_table(kind: Kind, name: str, cls: type[Any], settings: Settings) -> BaseModel:
    """A class's own settings from its table. Raises `ValidationError`."""
    model: BaseModel = cls.Settings.model_validate(kind.tables(settings).table(name))
    return model
