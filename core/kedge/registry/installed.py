"""The plugins installed beside Kedge: known by their entry points, imported only when named."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from kedge.errors import PluginError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "kedge"
EXTRA = re.compile(r"([A-Za-z0-9._-]+).*;.*\bextra\s*==\s*['\"]([A-Za-z0-9._-]+)['\"]")


@dataclass(frozen=True, kw_only=True)
class Installed:
    """A plugin that can be named in a config file."""

    name: str
    #: the distribution that brings it, and its version
    distribution: str
    version: str
    #: what the entry point points to
    target: str
    entry_point: EntryPoint

    def import_(self) -> Any:
        """Import it. Raises `PluginError`, which says whose fault it is and what to install."""
        try:
            return self.entry_point.load()
        except Exception as error:
            raise self.failed("cannot be imported", error) from error

    def failed(self, what: str, error: Exception) -> PluginError:
        """An error of this plugin, with the remedy where there is one."""
        reason = f"{type(error).__name__}: {error}"
        if isinstance(error, ModuleNotFoundError) and error.name:
            reason = f'the module "{error.name}" is missing; {self._remedy(error.name)}'
        return PluginError(f"{self.label} {what}: {reason}")

    @property
    def label(self) -> str:
        """The plugin as messages name it."""
        return f'plugin "{self.name}" ({self.distribution} {self.version})'

    def _remedy(self, module: str) -> str:
        top = module.partition(".")[0]
        extra = self._extra_with(top)
        wanted = f"{self.distribution}[{extra}]" if extra else top
        return (
            f'run: pip install "{wanted}"'
            if extra
            else f"install what provides it, perhaps: pip install {top}"
        )

    def _extra_with(self, module: str) -> str | None:
        distribution = self.entry_point.dist
        if distribution is None:
            return None
        for requirement in distribution.requires or []:
            match = EXTRA.match(requirement)
            if match and _same(match[1], module):
                return match[2]
        extras = distribution.metadata.get_all("Provides-Extra") or []
        return next((extra for extra in extras if _same(extra, self.name)), None)


def find_installed() -> dict[str, list[Installed]]:
    """All installed plugins by name; a name that two distributions use has two entries."""
    found: dict[str, list[Installed]] = {}
    for entry_point in entry_points(group=GROUP):
        distribution = entry_point.dist
        installed = Installed(
            name=entry_point.name,
            distribution=distribution.name if distribution else "unknown",
            version=distribution.version if distribution else "",
            target=entry_point.value,
            entry_point=entry_point,
        )
        same = found.setdefault(installed.name, [])
        # An editable install may leave the same distribution twice on the path.
        if all(one.distribution != installed.distribution for one in same):
            same.append(installed)
    return found


def _same(one: str, other: str) -> bool:
    return re.sub(r"[-_.]+", "-", one).lower() == re.sub(r"[-_.]+", "-", other).lower()
