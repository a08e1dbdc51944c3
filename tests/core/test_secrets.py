"""The key file, and what is encrypted by it."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from kedge.secrets import SecretBox, SecretsUnreadable

if TYPE_CHECKING:
    from pathlib import Path

BOX = SecretBox([Fernet.generate_key().decode()])


@given(st.text())
def test_any_text_comes_back_as_it_was(text: str) -> None:
    assert BOX.decrypt(BOX.encrypt(text)) == text


def test_what_is_stored_shows_nothing_of_the_secret_and_is_different_each_time() -> None:
    first, second = BOX.encrypt("hunter2"), BOX.encrypt("hunter2")

    assert b"hunter2" not in first
    assert first != second
    assert "hunter2" not in repr(BOX)


def test_a_missing_key_file_is_made_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "secret.key"
    stored = SecretBox.open(path).encrypt("x")

    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["secret.key"]
    assert SecretBox.open(path).decrypt(stored) == "x"


def test_all_who_open_a_missing_key_file_at_once_get_the_same_key(tmp_path: Path) -> None:
    for round_ in range(20):
        path = tmp_path / f"{round_}.key"
        with ThreadPoolExecutor(8) as pool:
            boxes = list(pool.map(lambda _, path=path: SecretBox.open(path), range(8)))
        stored = boxes[0].encrypt("x")
        assert {box.decrypt(stored) for box in boxes} == {"x"}


def test_a_new_key_on_top_encrypts_and_the_old_one_still_decrypts(tmp_path: Path) -> None:
    path = tmp_path / "secret.key"
    old = SecretBox.open(path).encrypt("old")
    old_key = path.read_text()
    new_key = Fernet.generate_key().decode()
    path.write_text(f"{new_key}\n{old_key}")
    box = SecretBox.open(path)

    assert box.decrypt(old) == "old"
    assert Fernet(new_key).decrypt(box.encrypt("new")) == b"new"


def test_the_wrong_key_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "secret.key"
    stored = SecretBox.open(path).encrypt("x")
    path.unlink()

    with pytest.raises(SecretsUnreadable, match=r"secret\.key is not the one .* Put the old key back"):
        SecretBox.open(path).decrypt(stored)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"not a key", "ünlich".encode(), b"AAAA", b"\xff\x00"])
def test_a_spoilt_key_file_says_what_to_do(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "secret.key"
    path.write_bytes(content)

    with pytest.raises(SecretsUnreadable, match=r"secret\.key holds no key.* from a backup"):
        SecretBox.open(path).encrypt("x")


@pytest.mark.parametrize("spoil", [0, 9, -1])
def test_a_changed_secret_is_noticed(spoil: int) -> None:
    stored = bytearray(BOX.encrypt("x"))
    stored[spoil] ^= 1

    with pytest.raises(SecretsUnreadable):
        BOX.decrypt(bytes(stored))


def test_opening_the_box_does_not_wait_for_the_cipher_to_be_imported(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from kedge.secrets import SecretBox; "
        "SecretBox.open(pathlib.Path(sys.argv[1])); sys.exit('cryptography' in sys.modules)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "secret.key")]

    assert subprocess.run(command, check=False).returncode == 0
