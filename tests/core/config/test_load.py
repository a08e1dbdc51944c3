"""Settings from file, environment and command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kedge import ConfigError
from kedge.config import Settings, load, read


def write(folder: Path, text: str) -> Path:
    path = folder / "kedge.toml"
    path.write_text(text)
    return path


def mistakes_in(path: Path | None, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path, environ or {}, {})
    return list(caught.value.mistakes)


def test_with_nothing_said_the_defaults_hold() -> None:
    settings = load(None, {"HOME": "/home/ada"}, {})
    assert settings.server.data_dir == Path("/home/ada/.local/share/kedge")
    assert settings.server.listen == "127.0.0.1:8787"
    assert settings.builds == Settings().builds


def test_the_data_dir_follows_xdg_if_that_is_absolute() -> None:
    assert load(None, {"XDG_DATA_HOME": "/data"}, {}).server.data_dir == Path("/data/kedge")
    home = {"XDG_DATA_HOME": "relative", "HOME": "/home/ada"}
    assert load(None, home, {}).server.data_dir == Path("/home/ada/.local/share/kedge")


def test_the_command_line_wins_over_the_environment_over_the_file_over_the_defaults(tmp_path: Path) -> None:
    path = write(
        tmp_path, '[builds]\nconcurrency = 2\ntimeout = 2\n[server]\nlisten = "a:2"\ndomain = "file"\n'
    )
    environ = {"KEDGE_BUILDS__TIMEOUT": "3", "KEDGE_SERVER__LISTEN": "a:3"}
    settings = load(path, environ, {"server": {"listen": "a:4", "domain": None}})
    assert settings.builds.start_timeout == 60
    assert settings.builds.concurrency == 2
    assert settings.builds.timeout == 3
    assert settings.server.listen == "a:4"
    assert settings.server.domain == "file"


def test_the_environment_can_say_lists_and_tables_of_backends() -> None:
    settings = load(
        None,
        {
            "KEDGE_PLUGINS": "one, two",
            "KEDGE_FORGES__USE": '["git", "github"]',
            "KEDGE_COMPUTE__PROCESS__NICE": "5",
            "KEDGE_COMPUTE__PROCESS__PATHS": '["/a", "/b"]',
            "KEDGE_LOGGING__LEVEL": "DEBUG",
        },
        {},
    )
    assert settings.plugins == ("one", "two")
    assert settings.forges.use == ("git", "github")
    assert settings.compute.table("process") == {"nice": "5", "paths": ["/a", "/b"]}
    assert settings.logging.level == "debug"


def test_an_empty_variable_counts_as_not_set() -> None:
    assert load(None, {"KEDGE_DATABASE": "", "KEDGE_SERVER__LISTEN": ""}, {}).database == "sqlite"


def test_variables_of_clients_and_builds_are_no_settings() -> None:
    environ = dict.fromkeys(
        ["KEDGE_URL", "KEDGE_TOKEN", "KEDGE_ACCOUNT", "KEDGE_WORKER", "KEDGE_PREVIEW_ALIAS", "KEDGE_CI"], "x"
    )
    assert load(None, environ | {"HOME": "/"}, {}).builds == Settings().builds


def test_kedge_config_names_the_file_if_the_caller_does_not(tmp_path: Path) -> None:
    path = write(tmp_path, 'database = "sqlite:///x"')
    assert load(None, {"KEDGE_CONFIG": str(path)}, {}).database == "sqlite:///x"


def test_kedge_data_dir_is_another_name_of_a_setting() -> None:
    assert load(None, {"KEDGE_DATA_DIR": "/there"}, {}).server.data_dir == Path("/there")
    both = {"KEDGE_DATA_DIR": "/there", "KEDGE_SERVER__DATA_DIR": "/here"}
    assert load(None, both, {}).server.data_dir == Path("/here")


def test_a_relative_data_dir_starts_where_it_was_said(tmp_path: Path) -> None:
    path = write(tmp_path, '[server]\ndata_dir = "data"\n')
    assert load(path, {}, {}).server.data_dir == tmp_path / "data"
    assert load(path, {"KEDGE_DATA_DIR": "data"}, {}).server.data_dir == Path.cwd() / "data"
    assert load(path, {}, {"server": {"data_dir": Path("/x")}}).server.data_dir == Path("/x")
    assert load(path, {}, {}).base_dir == tmp_path


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().database = "other"  # type: ignore[misc]


MISTAKEN = """\
plugns = ["tagged"]
[server]
lissten = "127.0.0.1:1"
[builds]
timeout = "20 minuts"
concurrency = "many"
[logging]
format = "xml"
[workers.hello]
buidl = 'make'
[workers.hello.variables]
A = 1
"""


def test_every_mistake_is_told_at_once_with_its_place(tmp_path: Path) -> None:
    path = write(tmp_path, MISTAKEN)
    told = mistakes_in(path, {"KEDGE_BUILDS__STOP_GRACE": "x"})
    assert {tuple(mistake.split(": ")[:2]) for mistake in told} == {
        ("KEDGE_BUILDS__STOP_GRACE", "builds.stop_grace"),
        (f"{path}:1", "plugns"),
        (f"{path}:3", "server.lissten"),
        (f"{path}:5", "builds.timeout"),
        (f"{path}:6", "builds.concurrency"),
        (f"{path}:8", "logging.format"),
        (f"{path}:10", "workers.hello.buidl"),
        (f"{path}:12", "workers.hello.variables.A"),
    }
    assert len(told) == 8
    text = "\n".join(told)
    assert 'did you mean "plugins"?' in text
    assert 'did you mean "listen"? known here: "data_dir", "domain", "drain_timeout", "listen"' in text
    assert 'must be one of "auto", "json" or "console"' in text
    assert "must be a whole number" in text


def test_a_mistake_inside_a_table_is_not_told_again_for_the_table(tmp_path: Path) -> None:
    path = write(tmp_path, "[workers.a.variables]\nB = { secert = 'env:X' }\n")
    assert len(mistakes_in(path)) == 1


def test_a_variable_with_one_underscore_too_few_is_noticed() -> None:
    assert mistakes_in(None, {"KEDGE_SERVER_LISTEN": "a:1"}) == [
        'KEDGE_SERVER_LISTEN: is no setting; did you mean "KEDGE_SERVER__LISTEN"?'
    ]
    assert "KEDGE_DATABASE" in mistakes_in(None, {"KEDGE_DATABSE": "sqlite"})[0]


def test_a_section_given_as_a_value_is_a_mistake_of_who_gave_it() -> None:
    assert mistakes_in(None, {"KEDGE_COMPUTE": "docker"}) == ["KEDGE_COMPUTE: compute: must be a table"]


def test_an_unknown_key_of_a_section_with_tables_is_a_mistake(tmp_path: Path) -> None:
    path = write(tmp_path, "[compute]\nusee = 'process'\n")
    assert mistakes_in(path) == [
        f'{path}:2: compute.usee: unknown key; did you mean "use"? known here: "use"'
    ]


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ('database = "postgres:hunter2"', "hunter2"),
        ('[workers.a.variables]\nB = { secret = "hunter2" }', "hunter2"),
        ('[workers.a.variables]\nB = ["hunter2"]', "hunter2"),
        ('[server]\npublic_url = "hunter2"', "hunter2"),
    ],
)
def test_no_mistake_repeats_a_value(tmp_path: Path, text: str, secret: str) -> None:
    assert secret not in "\n".join(mistakes_in(write(tmp_path, text)))


def test_what_is_no_network_is_one_mistake_in_plain_words(tmp_path: Path) -> None:
    path = write(tmp_path, '[gateway]\ntrusted_proxies = ["10.0.0.0/8", "::1", "x", 10]\n')
    words = 'must be a network, such as "10.0.0.0/8", "fd00::/8" or one address'

    assert mistakes_in(path) == [f"{path}:2: gateway.trusted_proxies[{place}]: {words}" for place in (2, 3)]


def test_a_database_url_is_not_in_the_settings_text() -> None:
    settings = Settings(database="postgresql://kedge:hunter2@db/kedge")
    assert "hunter2" not in repr(settings)


def test_a_file_that_cannot_be_read_is_one_mistake(tmp_path: Path) -> None:
    assert mistakes_in(tmp_path / "gone.toml")[0].endswith("cannot be read: No such file or directory")
    assert "cannot be read: Is a directory" in mistakes_in(tmp_path)[0]
    (tmp_path / "binary").write_bytes(b"\xff")
    assert "is not UTF-8" in mistakes_in(tmp_path / "binary")[0]
    assert "is not TOML: " in mistakes_in(write(tmp_path, "a = \n"))[0]
    assert "line 2" in mistakes_in(write(tmp_path, "database = 'sqlite'\n= 1\n"))[0]
    assert "is not TOML: " in mistakes_in(write(tmp_path, "a = " + "[" * 100_000))[0]
    assert "is larger than" in mistakes_in(write(tmp_path, "#" * (4 * 1024 * 1024 + 1)))[0]


@pytest.mark.parametrize(
    ("table", "bad"),
    [
        ("server", 'listen = "8787"'),
        ("server", 'listen = "a:99999"'),
        ("server", 'listen = "http://a:1"'),
        ("server", 'public_url = "kedge.example.com"'),
        ("server", 'public_url = "https://a/?x"'),
        ("server", 'public_url = "http://kedge.localhost:8787"'),
        ("server", 'domain = "Example.com"'),
        ("server", 'domain = "a b"'),
        ("server", 'data_dir = "a\\u0000b"'),
        ("server", "data_dir = 1"),
        ("node", 'name = "../x"'),
        ("node", 'location = ""'),
        ("builds", "concurrency = 0"),
        ("builds", "timeout = 0"),
        ("builds", "infrastructure_retries = -1"),
        ("builds", "infrastructure_retries = 1.5"),
        ("compute", 'use = ["process"]'),
        ("forges", 'use = ["git", "git"]'),
        ("placement", "chain = 1"),
        ("logging", 'level = "loud"'),
    ],
)
def test_a_value_that_cannot_work_is_refused(tmp_path: Path, table: str, bad: str) -> None:
    path = write(tmp_path, f"[{table}]\n{bad}\n")
    key = f"{table}.{bad.partition(' ')[0]}"
    (mistake,) = mistakes_in(path)
    assert mistake.startswith(f"{path}:2: {key}")


@pytest.mark.parametrize(
    "url",
    ["https://workers.example.com", "https://kedge.example.com/x", "https://notworkers.example.com"],
)
def test_kedge_is_reached_outside_of_the_domain_of_the_workers(tmp_path: Path, url: str) -> None:
    path = write(tmp_path, f'[server]\npublic_url = "{url}"\ndomain = "workers.example.com"\n')

    assert load(path, {}, {}).server.public_url == url


@pytest.mark.parametrize(
    "url", ["https://kedge.workers.example.com", "https://KEDGE.Workers.example.com.:8443/x"]
)
def test_kedge_is_not_reached_below_the_domain_of_the_workers(tmp_path: Path, url: str) -> None:
    path = write(tmp_path, f'[server]\npublic_url = "{url}"\ndomain = "workers.example.com"\n')
    [mistake] = mistakes_in(path)

    assert mistake.startswith(f"{path}:2: server.public_url: lies below server.domain (workers.example.com)")


def test_a_draft_has_settings_even_with_mistakes(tmp_path: Path) -> None:
    draft = read(write(tmp_path, "x = 1\n[builds]\nconcurrency = 0\ntimeout = 7\n"), {}, {})
    assert len(draft.mistakes) == 2
    assert (draft.settings.builds.concurrency, draft.settings.builds.timeout) == (6, 7)


#: the machine may be busy with other tests
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
sections = st.sampled_from([*Settings.model_fields, "other"])
keys = st.sampled_from(["use", "chain", "listen", "timeout", "process", "data_dir", "hello", "variables", ""])


@patient
@example({"plugins": [None, None]})
@given(st.dictionaries(sections, json | st.dictionaries(keys, json, max_size=3), max_size=4))
def test_whatever_is_said_ends_in_settings_or_mistakes(said: dict[str, object]) -> None:
    draft = read(None, {}, said)
    assert isinstance(draft.settings, Settings)
    assert all(str(mistake) for mistake in draft.mistakes)


@patient
@given(
    st.dictionaries(st.text(max_size=20).map(lambda name: f"KEDGE_{name}"), st.text(max_size=20), max_size=4)
)
def test_whatever_the_environment_holds_ends_in_settings_or_mistakes(environ: dict[str, str]) -> None:
    if "KEDGE_CONFIG" not in environ:
        assert isinstance(read(None, environ, {}).settings, Settings)
