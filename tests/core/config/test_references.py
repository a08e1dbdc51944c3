"""Secrets by reference."""

from __future__ import annotations

from pathlib import Path

import pytest

from kedge import ConfigError
from kedge.config import resolve_secret


def test_env_looks_up_a_variable_of_the_environment(tmp_path: Path) -> None:
    assert resolve_secret("env:NPM_TOKEN", tmp_path, {"NPM_TOKEN": "s3cret"}) == "s3cret"


def test_env_falls_back_to_the_environment_of_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NPM_TOKEN", "s3cret")
    assert resolve_secret("env:NPM_TOKEN", tmp_path) == "s3cret"


def test_file_is_read_from_the_base_dir_without_its_last_line_end(tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(b"two\nlines\r\n")
    assert resolve_secret("file:token", tmp_path, {}) == "two\nlines"
    assert resolve_secret(f"file:{tmp_path / 'token'}", Path("/"), {}) == "two\nlines"


@pytest.mark.parametrize(
    "literal", ["hunter2", "", "env:", "env:A B", "env:A-B", "file:", "vault:x", "file:a\nb"]
)
def test_a_literal_secret_is_refused_and_not_repeated(tmp_path: Path, literal: str) -> None:
    with pytest.raises(ConfigError, match="never written here, only where it is") as caught:
        resolve_secret(literal, tmp_path, {})
    assert "hunter2" not in str(caught.value)


def test_a_variable_that_is_not_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="env:NPM_TOKEN: the environment variable NPM_TOKEN is not set"):
        resolve_secret("env:NPM_TOKEN", tmp_path, {"NPM_TOKEN": ""})


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="file:gone: the file cannot be read: No such file"):
        resolve_secret("file:gone", tmp_path, {})
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        resolve_secret("file:.", tmp_path, {})


def test_a_file_that_holds_no_text_or_too_much_is_refused(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8"):
        resolve_secret("file:binary", tmp_path, {})
    with pytest.raises(ConfigError, match="larger than"):
        resolve_secret("file:/dev/zero", tmp_path, {})
