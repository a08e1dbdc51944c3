"""Encryption of stored secrets, with a key that lies beside the database and not in it."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING

from kedge.errors import KedgeError

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.fernet import MultiFernet


class SecretsUnreadable(KedgeError):
    """A stored secret cannot be decrypted with the key that is there."""

    code = 10600


class SecretBox:
    """Encrypts with the first key of the file, decrypts with any: put a new line on top to rotate."""

    def __init__(self, keys: list[str]) -> None:
        """`keys` are Fernet keys."""
        self._keys = keys

    @classmethod
    def open(cls, path: Path) -> SecretBox:
        """Read the key file; a missing one is made, readable by its owner only."""
        with suppress(FileExistsError):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(_new_key() + "\n")
        return cls(path.read_text().split())

    def encrypt(self, text: str) -> bytes:
        """`text` as a token that only a holder of the key can read or change."""
        return self._fernet.encrypt(text.encode())

    def decrypt(self, data: bytes) -> str:
        """What `encrypt` was given. Raises `SecretsUnreadable`."""
        from cryptography.fernet import InvalidToken  # noqa: PLC0415  (slow to import, seldom needed)

        try:
            return self._fernet.decrypt(data).decode()
        except InvalidToken:
            raise SecretsUnreadable(
                "a stored secret cannot be read: secret.key is not the one it was stored with. "
                "Put the old key back as a further line, or set the secret anew."
            ) from None

    @cached_property
    def _fernet(self) -> MultiFernet:
        from cryptography.fernet import Fernet, MultiFernet  # noqa: PLC0415  (as above)

        try:
            return MultiFernet([Fernet(key) for key in self._keys])
        except ValueError:
            raise SecretsUnreadable("secret.key holds no key: put it back from a backup") from None


def _new_key() -> str:
    import base64  # noqa: PLC0415  (needed once in the life of a data dir)

    return base64.urlsafe_b64encode(os.urandom(32)).decode()
