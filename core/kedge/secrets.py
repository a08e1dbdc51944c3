"""Encryption of stored secrets, with a key that lies beside the database and not in it."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from kedge.errors import KedgeError

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet


class SecretsUnreadable(KedgeError):
    """A stored secret cannot be decrypted with the key that is there."""

    code = 10600


class SecretBox:
    """Encrypts with the first key of the file, decrypts with any: put a new line on top to rotate.

    Usable from several threads at once.
    """

    def __init__(self, keys: list[str], *, name: str = "secret.key") -> None:
        """`keys` are Fernet keys, `name` is what the file is called in messages."""
        self._keys = keys
        self._name = name

    @classmethod
    def of(cls, text: str, *, name: str) -> SecretBox:
        """The keys in `text`, one a line."""
        return cls(text.split(), name=name)

    @classmethod
    def open(cls, path: Path) -> SecretBox:
        """Read the key file; a missing one is made, readable by its owner only, whole or not at all."""
        if not path.exists():
            _make(path)
        return cls(path.read_text("ascii", "replace").split(), name=path.name)

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
                f"a stored secret cannot be read: {self._name} is not the one it was stored with. "
                "Put the old key back as a further line, or set the secret anew."
            ) from None

    @cached_property
    def _fernet(self) -> MultiFernet:
        from cryptography.fernet import Fernet, MultiFernet  # noqa: PLC0415  (as above)

        try:
            return MultiFernet([Fernet(key) for key in self._keys])
        except ValueError:
            raise SecretsUnreadable(
                f"{self._name} holds no key, or something that is none: put it back from a backup. If there "
                "is none, remove the file, restart Kedge, and set every secret anew."
            ) from None


def _make(path: Path) -> None:
    """Write the file aside and move it into place; of several who do so at once, one's key stays."""
    import base64  # noqa: PLC0415  (needed once in the life of a data dir)

    key = base64.urlsafe_b64encode(os.urandom(32))
    # made with mode 0600
    descriptor, draft = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(key + b"\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        Path(draft).unlink()
