"""What a repository tells of how to build it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from kedge.builds.autofill import LARGEST, LOCKFILES, parse
from kedge_runner.detect import JAVASCRIPT

if TYPE_CHECKING:
    from tests.core.api.conftest import Caller, Project, World

PACKAGE = {"name": "site", "scripts": {"build": "vite build", "test": "vitest", "odd": 1}}
WRANGLER = """
// what is deployed
{
  "name": "hello", /* not "bye" */
  "main": "src/index.ts", // https://example.com
  "env": {
    "staging": {"vars": {"URL": "http://x//y"}},
    "live": {"name": "hello-live",},
  },
}
"""


@pytest.fixture
async def project(me: Caller) -> Project:
    return await me.make_project()


async def look(world: World, me: Caller, project: Project, files: dict[str, str], folder: str = "/") -> Any:
    world.forge.commit(project.repo, files={path: text.encode() for path, text in files.items()})
    path = f"/builds/repos/fake/default/hello/config_autofill?branch=main&root_directory={quote(folder)}"
    return await me.result("GET", path)


async def test_a_javascript_project_tells_everything(world: World, me: Caller, project: Project) -> None:
    files = {"package.json": json.dumps(PACKAGE), "pnpm-lock.yaml": "", "wrangler.jsonc": WRANGLER}

    assert await look(world, me, project, files) == {
        "config_file": "wrangler.jsonc",
        "default_worker_name": "hello",
        "env_worker_names": {"staging": "hello-staging", "live": "hello-live"},
        "package_manager": "pnpm",
        "scripts": {"build": "vite build", "test": "vitest"},
        "kedge": {"unreadable": []},
    }


async def test_a_toml_file_tells_the_same(world: World, me: Caller, project: Project) -> None:
    text = 'name = "hello"\n[env.staging]\n[env.live]\nname = "hello-live"\n'
    found = await look(world, me, project, {"wrangler.toml": text, "uv.lock": ""})

    assert (found["config_file"], found["default_worker_name"]) == ("wrangler.toml", "hello")
    assert found["env_worker_names"] == {"staging": "hello-staging", "live": "hello-live"}
    assert (found["package_manager"], found["scripts"]) == ("uv", {})


async def test_an_empty_repository_tells_nothing(world: World, me: Caller, project: Project) -> None:
    found = await look(world, me, project, {"readme.md": "#"})

    assert found == {
        "config_file": None,
        "default_worker_name": None,
        "env_worker_names": {},
        "package_manager": None,
        "scripts": {},
        "kedge": {"unreadable": []},
    }


@pytest.mark.parametrize(
    ("told", "manager"),
    [
        ((["yarn.lock"], ""), "yarn"),
        ((["bun.lock"], ""), "bun"),
        ((["package-lock.json"], ""), "npm"),
        (([], ""), "npm"),
        (([], "pnpm@10.1.0"), "pnpm"),
        ((["yarn.lock", "package-lock.json"], "npm@11"), "npm"),
        ((["yarn.lock"], "npm@11"), "yarn"),
        ((["yarn.lock"], "deno@2"), "yarn"),
    ],
)
async def test_the_package_manager_is_known_by_lockfile_and_by_name(
    world: World, me: Caller, project: Project, told: tuple[list[str], str], manager: str
) -> None:
    names, named = told
    files = {"package.json": json.dumps({"packageManager": named}), **dict.fromkeys(names, "")}

    assert (await look(world, me, project, files))["package_manager"] == manager


def test_lockfiles_are_those_that_the_runner_knows() -> None:
    known = {lockfile: manager.tool for lockfile, manager in JAVASCRIPT}

    assert {**known, "uv.lock": "uv"} == LOCKFILES


async def test_a_folder_of_a_monorepo_is_looked_at_with_the_lockfile_above_it(
    world: World, me: Caller, project: Project
) -> None:
    files = {
        "package.json": json.dumps({"scripts": {"build": "all"}}),
        "pnpm-lock.yaml": "",
        "apps/site/package.json": json.dumps({"scripts": {"build": "one"}}),
    }
    found = await look(world, me, project, files, "/apps/site/")

    assert (found["package_manager"], found["scripts"]) == ("pnpm", {"build": "one"})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("package.json", "{"),
        ("package.json", "[]"),
        ("package.json", "[" * 100_000),
        ("package.json", "{}" + " " * LARGEST),
        ("wrangler.json", "\x00"),
        ("wrangler.jsonc", '{"name": "x" /* '),
        ("wrangler.toml", "name ="),
    ],
)
async def test_a_file_that_makes_no_sense_is_named(
    world: World, me: Caller, project: Project, name: str, text: str
) -> None:
    found = await look(world, me, project, {name: text})

    assert found["kedge"]["unreadable"] == [name]
    assert found["default_worker_name"] is None


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    ("name", "piece"),
    [
        ("wrangler.jsonc", '"'),
        ("wrangler.jsonc", '\\"'),
        ("wrangler.jsonc", '"\\'),
        ("wrangler.jsonc", "/* "),
        ("wrangler.jsonc", "/"),
        ("wrangler.jsonc", ", "),
        ("wrangler.jsonc", "["),
        ("package.json", '{"a":'),
        ("wrangler.toml", "a."),
        ("wrangler.toml", "a.\n"),
        ("wrangler.toml", "[a.b]\n"),
        ("wrangler.toml", '"\\"'),
    ],
)
def test_a_file_made_to_take_long_is_told_to_make_no_sense_at_once(name: str, piece: str) -> None:
    """What is quadratic takes minutes for this, and a regular expression lets no other thread run."""
    for text in ('"', "", "{,", "/*"):
        with pytest.raises((ValueError, RecursionError)):
            parse(name, (text + piece * (LARGEST * 4 // len(piece))).encode())


@pytest.mark.parametrize(
    "text",
    ['{"name": 7, "env": 8}', '{"name": "x", "env": {"a": 1}}', '{"env": {"a": {}}}', '{"scripts": ["x"]}'],
)
async def test_a_file_of_odd_types_is_harmless(world: World, me: Caller, project: Project, text: str) -> None:
    found = await look(world, me, project, {"package.json": text, "wrangler.json": text})

    assert found["scripts"] == {}
    assert found["kedge"]["unreadable"] == []


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 400),
        ("?branch=", 400),
        ("?branch=--upload-pack=x", 400),
        ("?branch=main&root_directory=../x", 400),
        ("?branch=main&root_directory=a%0Ab", 400),
        ("?branch=gone", 404),
        ("?branch=main&root_directory=/gone", 404),
    ],
)
async def test_what_cannot_be_looked_at_is_refused(
    world: World, me: Caller, project: Project, query: str, status: int
) -> None:
    world.forge.commit(project.repo)
    path = f"/builds/repos/fake/default/hello/config_autofill{query}"

    assert (await me.refusal("GET", path))[0] == status


async def test_only_a_connected_repository_is_looked_at(world: World, me: Caller, project: Project) -> None:
    world.forge.commit(project.repo)
    path = "/builds/repos/fake/default/hello/config_autofill?branch=main"
    assert await me.result("GET", path)
    await me.result("DELETE", f"/builds/repos/connections/{project.connection}")

    status, _, message = await me.refusal("GET", path)
    assert status == 404
    assert "PUT /builds/repos/connections" in message
