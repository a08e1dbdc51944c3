"""`configs/local.toml` shows every setting with its default; every config that is shipped loads."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kedge.config import Settings, WorkerSpec, describe_settings, load
from kedge.placement.strategies import STRATEGIES
from kedge.registry import load_and_register
from kedge.registry.kinds import KINDS
from kedge.registry.loading import load_plugins

if TYPE_CHECKING:
    from pydantic import BaseModel

CONFIGS = Path(__file__).parents[2] / "configs"
LOCAL = (CONFIGS / "local.toml").read_text()
#: their defaults depend on the machine, or there is none
SHOWN_BY_EXAMPLE = {"server.data_dir", "server.public_url", "node.name"}

#: tables whose keys users choose
BY_NAME = {"workers", "peers"}


def shown() -> str:
    """The file with its settings taken out of their comments."""
    return re.sub(r"^#(?=[a-z\[])", "", LOCAL, flags=re.MULTILINE)


def flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values by dotted key."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        is_table = isinstance(value, dict) and value
        found |= flat(value, f"{prefix}{key}.") if is_table else {f"{prefix}{key}": value}
    return found


def models_of_defaults() -> dict[str, type[BaseModel]]:
    """The tables of the backends that run by default."""
    settings = Settings()
    classes = load_plugins(settings, STRATEGIES).classes
    return {
        f"{kind.section}.{name}": classes[kind.section][name].cls.Settings
        for kind in KINDS
        for name in kind.chosen(settings)
    }


def documented() -> dict[str, Any]:
    """Every setting that there is by default, with its default."""
    defaults = {one.key: one.default for one in describe_settings() if one.key not in BY_NAME}
    for table, model in models_of_defaults().items():
        defaults |= {one.key: one.default for one in describe_settings(model, f"{table}.")}
    return defaults


def test_local_toml_changes_nothing() -> None:
    assert tomllib.loads(LOCAL) == {}


def test_local_toml_shows_every_setting_and_no_other() -> None:
    assert set(flat(tomllib.loads(shown()))) == set(documented())


def test_local_toml_shows_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "shown.toml"
    path.write_text(shown())
    settings, _ = load_and_register(path, {}, {}, placements=STRATEGIES)
    read: dict[str, Any] = settings.model_dump(exclude=BY_NAME)
    for table, model in models_of_defaults().items():
        section, _, name = table.partition(".")
        read[section][name] = model.model_validate(read[section][name]).model_dump()
    values = flat(read)
    wanted = documented()
    different = {key for key in wanted if wanted[key] is not None and values[key] != wanted[key]}
    assert different <= SHOWN_BY_EXAMPLE


def of_a_users_name(key: str) -> bool:
    """Whether users choose the names in that table."""
    return "variables" in key or key.partition(".")[0] in {"hooks", "trigger"}


def test_local_toml_shows_every_key_of_a_worker(tmp_path: Path) -> None:
    lines = [line.removeprefix("#   ") for line in LOCAL.splitlines() if line.startswith("#   ")]
    path = tmp_path / "workers.toml"
    path.write_text("\n".join(lines))
    settings = load(path, {}, {})
    keys = {one.key for one in describe_settings(WorkerSpec)}
    written = tomllib.loads(path.read_text())["workers"]
    found = {key for worker in written.values() for key in flat(worker)}
    assert {key for key in keys if not of_a_users_name(key)} == {
        key for key in found if not of_a_users_name(key)
    }
    assert {key for key in keys if "." not in key} <= {key.partition(".")[0] for key in found}
    assert settings.workers["hello"].preview.variables["NODE_ENV"].value == "preview"


def test_every_setting_says_what_it_is() -> None:
    shipped = tuple(entry_point.name for entry_point in entry_points(group="kedge"))
    classes = load_plugins(Settings(plugins=shipped), STRATEGIES).classes
    described = [*describe_settings(), *describe_settings(WorkerSpec)]
    for kind in KINDS:
        for name, registered in classes[kind.section].items():
            described += describe_settings(registered.cls.Settings, f"{kind.section}.{name}.")
    assert {"forges.git.folder", "compute.docker.image", "blobs.s3.bucket"} <= {one.key for one in described}
    assert [one.key for one in described if not one.description] == []


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.name)
def test_every_shipped_config_loads(path: Path) -> None:
    _, registry = load_and_register(path, {}, {}, placements=STRATEGIES)
    assert registry.plugins
