"""The cache of one build: what there is to restore, and when to save."""

from __future__ import annotations

import os
import sys

from kedge_runner.cache.compression import available
from kedge_runner.cache.declared import make_unit, read_declared
from kedge_runner.cache.errors import CacheFailed, reason_of
from kedge_runner.cache.found import find_units
from kedge_runner.cache.keys import Keys
from kedge_runner.cache.unit import REPOSITORY
from kedge_runner.client import Client
from kedge_runner.command import Command
from kedge_runner.errors import Cancelled, Refused, TimedOut
from kedge_runner.jsontext import dumps
from kedge_runner.processes import MARKER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kedge_runner.address import Address
    from kedge_runner.cache.unit import Unit
    from kedge_runner.job import Job
    from kedge_runner.log import Log
    from kedge_runner.watch import Watch

BOOT = """import sys
sys.path.insert(0, sys.argv.pop(1))
from kedge_runner.cache.helper import main
main()"""
SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
#: a build does not wait longer than this to learn what is cached
PATIENCE = 15.0


class Caching:
    """Nothing in here makes a build fail. Made once the repository is there, for keys hold file hashes."""

    def __init__(self, job: Job, address: Address, workspace: str, log: Log, watch: Watch) -> None:
        """Nothing is known yet."""
        self._job = job
        self._address = address
        self._workspace = workspace
        self._log = log
        self._watch = watch
        self._settings: dict[str, Any] = job.cache or {}
        self._root = REPOSITORY
        self._units: list[Unit] = []

    def look_at(self, folder: str) -> None:
        """Find out what there is to cache in the project in `folder`."""
        repository = os.path.realpath(os.path.join(self._workspace, REPOSITORY))
        inside = os.path.relpath(os.path.realpath(folder), repository)
        self._root = REPOSITORY if inside == "." else f"{REPOSITORY}/{inside}"
        keys = Keys(folder, branch=self._job.branch, commit=self._job.commit_hash)
        try:
            self._units = self._find(folder, keys)
        except Exception as error:  # noqa: BLE001  (a build can do without its cache)
            self._log.say(f"Cache: not used: {error!r}")

    def restore(self, *, after_install: bool) -> bool:
        """Restore what belongs before or after the installation. Whether there was anything to."""
        units = [unit for unit in self._units if unit.after_install == after_install]
        found = [(unit, hit) for unit in units if (hit := self._look_up(unit)) is not None]
        if found:
            self._run([unit for unit, _ in found], [hit for _, hit in found])
        return bool(found)

    def save(self) -> str:
        """Save what the build has left; return how it went. A cancel ends this, and only this."""
        if not self._units:
            return "skipped"
        if not self._settings["writable"]:
            self._log.say("Cache: not saved, for this build is not trusted. It may only read")
            return "skipped"
        try:
            self._run(self._units, [])
        except (Cancelled, TimedOut):
            self._log.say("Cache: not saved any further, for the build is to end now. Its result holds")
            return "cancelled"
        return "success"

    def _find(self, folder: str, keys: Keys) -> list[Unit]:
        units: dict[str, Unit] = {}
        try:
            for unit in find_units(folder, self._root, keys):
                units[unit.name] = unit
            tables = [*read_declared(folder), *self._settings["declared"]]
        except (CacheFailed, OSError) as error:
            self._log.say(f"Cache: {reason_of(error)}")
            tables = self._settings["declared"]
        for table in tables:
            try:
                unit = make_unit(table, self._root, keys)
                units[unit.name] = unit
            except CacheFailed as error:
                named = table.get("name") if isinstance(table, dict) else None
                self._log.say(f"Cache {str(named or '(no name)')[:80]}: not used: {error}")
        if not units:
            self._log.say("Cache: nothing to cache was found; declare paths in kedge.toml")
        return list(units.values())

    def _look_up(self, unit: Unit) -> dict[str, Any] | None:
        fact = {
            "name": unit.name,
            "version": unit.version(available()),
            "key": unit.key,
            "restore_keys": unit.restore_keys,
        }
        address = self._address
        client = Client(address.endpoint, address.token, address.prefix, patience=PATIENCE)
        try:
            hit: dict[str, Any] | None = client.call("POST", "/caches/lookup", fact)["hit"]
        except Refused as error:
            self._log.say(f"Cache {unit.name}: miss: {error}")
            return None
        finally:
            client.close()
        if hit is None:
            tried = " or ".join([unit.key, *(f"{key}…" for key in unit.restore_keys)])
            self._log.say(f"Cache {unit.name}: miss, for nothing is kept as {tried}")
        return hit

    def _run(self, units: list[Unit], hits: list[dict[str, Any]]) -> None:
        """Have a process do it. Raises as the watch does."""
        plan = {
            "endpoint": self._address.endpoint,
            "token": self._address.token,
            "prefix": self._address.prefix,
            "workspace": self._workspace,
            "units": [unit.to_json() for unit in units],
            "hits": hits,
        }
        try:
            code = self._execute(dumps(plan).encode())
        except (OSError, ValueError) as error:
            self._log.say(f"Cache: not moved: {reason_of(error)}")
            return
        if code != 0:
            self._log.say(f"Cache: the process that moves caches ended with code {code}; the build goes on")
            self._take_back()

    def _take_back(self) -> None:
        """Leave nothing of what was restored by halves. Raises `OSError`: such a tree is not to be built."""
        from kedge_runner.cache.placing import take_back

        take_back(self._workspace)

    def _execute(self, plan: bytes) -> int:
        environment = {name: os.environ[name] for name in ("PATH", MARKER) if name in os.environ}
        environment |= {"TMPDIR": os.path.join(self._workspace, "tmp")}
        argv = [sys.executable, "-I", "-S", "-c", BOOT, SOURCE]
        command = Command(argv, cwd=self._workspace, env=environment, watch=self._watch, given=plan)
        return command.run(self._log.write)
