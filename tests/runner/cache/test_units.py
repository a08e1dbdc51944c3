"""What a project's own files say there is to cache, and under which keys."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import kedge_runner
from kedge_runner.cache.declared import make_unit, read_declared
from kedge_runner.cache.errors import CacheFailed
from kedge_runner.cache.found import FRAMEWORKS, find_units
from kedge_runner.cache.keys import Keys
from kedge_runner.cache.unit import Unit, place


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(str(tmp_path), branch="main", commit="c" * 40)


@pytest.mark.parametrize(
    ("lockfile", "name", "path"),
    [
        ("package-lock.json", "npm", "home/.npm"),
        ("yarn.lock", "yarn", "home/.cache/yarn"),
        ("pnpm-lock.yaml", "pnpm", "home/.pnpm-store"),
        ("bun.lock", "bun", "home/.bun/install/cache"),
        ("uv.lock", "uv", "home/.cache/uv"),
        ("poetry.lock", "poetry", "home/.cache/pypoetry"),
        ("requirements.txt", "pip", "home/.cache/pip"),
    ],
)
def test_a_package_manager_is_found_by_its_lockfile(
    lockfile: str, name: str, path: str, tmp_path: Path, keys: Keys
) -> None:
    (tmp_path / lockfile).write_text("locked")

    [unit] = find_units(str(tmp_path), "repo", keys)

    assert unit.name == name
    assert path in unit.paths
    assert unit.key == f"{name}-{keys.hash(lockfile)}"
    assert unit.restore_keys == [f"{name}-"]
    assert not unit.after_install


@pytest.mark.parametrize("package", FRAMEWORKS)
@pytest.mark.parametrize("table", ["dependencies", "devDependencies"])
def test_a_framework_is_found_by_package_json(package: str, table: str, tmp_path: Path, keys: Keys) -> None:
    (tmp_path / "package.json").write_text(json.dumps({table: {package: "1"}}))
    name, paths = FRAMEWORKS[package]

    [unit] = find_units(str(tmp_path), "repo/site", keys)

    assert unit.name == name
    assert unit.paths == sorted(f"repo/site/{path}" for path in paths)
    assert unit.after_install == any(path.startswith("node_modules/") for path in paths)


@pytest.mark.parametrize("text", ["", "[]", "null", '{"dependencies": []}', "{", "[" * 100_000])
def test_a_strange_package_json_is_no_framework(text: str, tmp_path: Path, keys: Keys) -> None:
    (tmp_path / "package.json").write_text(text)

    assert list(find_units(str(tmp_path), "repo", keys)) == []


def test_a_project_declares_paths_and_keys(tmp_path: Path, keys: Keys) -> None:
    (tmp_path / "lock").write_text("1")
    (tmp_path / "kedge.toml").write_text(
        '[[cache]]\nname = "x"\npaths = ["build/", "~/.x"]\nkey = "x-{branch}-{hash:lock}"\n'
        'restore_keys = ["x-"]\n'
    )

    [table] = read_declared(str(tmp_path))
    unit = make_unit(table, "repo/site", keys)

    assert unit.paths == ["home/.x", "repo/site/build"]
    assert unit.key == f"x-main-{keys.hash('lock')}"
    assert unit.restore_keys == ["x-"]


@pytest.mark.parametrize(
    "table",
    [
        {},
        "x",
        {"name": "x"},
        {"name": "x", "paths": []},
        {"name": "x", "paths": "build"},
        {"name": "../x", "paths": ["build"]},
        {"name": "x", "paths": ["build"], "key": "{secret}"},
        {"name": "x", "paths": ["build"], "key": "{hash:../../etc/passwd}"},
        {"name": "x", "paths": ["build"], "key": "{hash:/etc/passwd}"},
        {"name": "x", "paths": ["build"], "key": "{hash:lock"},
        {"name": "x", "paths": ["build"], "key": "a\nb"},
        {"name": "x", "paths": ["build"], "key": 1},
        {"name": "x", "paths": ["build"], "keys": "x"},
        {"name": "x", "paths": ["build"], "restore_keys": ["x"] * 11},
    ],
)
def test_a_wrong_declaration_is_told(table: object, keys: Keys) -> None:
    with pytest.raises(CacheFailed):
        make_unit(table, "repo", keys)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/etc",
        "..",
        "a/../../b",
        "~",
        "~/",
        "~root/x",
        ".",
        "./",
        "a//b",
        ".git",
        "a/.git/hooks",
        "a\0b",
    ],
)
def test_a_path_that_could_lead_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(CacheFailed):
        place(path, "repo")


def test_a_toml_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "kedge.toml").write_text("[[cache]\n")

    with pytest.raises(CacheFailed, match=r"kedge.toml cannot be read"):
        read_declared(str(tmp_path))


def test_a_hash_changes_with_names_and_contents_and_no_link_leads_it_out(tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "a" / "node_modules").mkdir(parents=True)
    keys = Keys(str(project), branch="main", commit="c")
    assert keys.hash("**/*.lock") == "none"
    (tmp_path / "secret.lock").write_text("secret")
    (project / "out.lock").symlink_to("../secret.lock")
    (project / "a/node_modules/x.lock").write_text("x")
    assert keys.hash("**/*.lock") == "none"
    (project / "a/y.lock").write_text("y")
    first = keys.hash("**/*.lock")
    (project / "a/y.lock").write_text("z")
    second = keys.hash("**/*.lock")
    (project / "a/y.lock").rename(project / "a/z.lock")

    assert len({"none", first, second, keys.hash("**/*.lock")}) == 4


def test_other_paths_or_another_compression_are_another_version() -> None:
    one = Unit("x", ["repo/a"], key="k")
    versions = {
        one.version("zstd"),
        one.version("gzip"),
        Unit("x", ["repo/b"], key="k").version("zstd"),
        Unit("x", ["repo/a", "repo/b"], key="k").version("zstd"),
    }
    assert len(versions) == 4
    assert Unit("y", ["repo/a"], key="l").version("zstd") == one.version("zstd")


def test_a_runner_that_does_not_cache_imports_nothing_of_it() -> None:
    source = Path(kedge_runner.__file__).parent.parent
    program = (
        f"import sys; sys.path.insert(0, {str(source)!r}); import kedge_runner.main;"
        "print([name for name in sys.modules if name.startswith('kedge_runner.cache')])"
    )
    said = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True
    ).stdout

    assert said.strip() == "[]"
