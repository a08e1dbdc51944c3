"""Takes secrets out of a stream of bytes, wherever it is cut."""

from __future__ import annotations

import base64
import json

STARS = b"***"
#: shorter values would mask half of an ordinary log
SHORTEST = 4


class Masker:
    """Replaces every form of every secret; holds back only what may be the beginning of one."""

    def __init__(self, secrets: list[str]) -> None:
        """`secrets` shorter than `SHORTEST` are left alone."""
        forms: set[bytes] = set()
        for secret in secrets:
            if len(secret) >= SHORTEST:
                forms |= forms_of(secret)
        self._forms = sorted(forms, key=len, reverse=True)
        self._longest = max(map(len, self._forms), default=0)
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """The next part, masked; its end may come with a later part."""
        if self._held:
            data = self._held + data
        for form in self._forms:
            if form in data:
                data = data.replace(form, STARS)
        held = self._suspicious(data)
        self._held = data[len(data) - held :] if held else b""
        return data[: len(data) - held] if held else data

    def finish(self) -> bytes:
        """What was held back: the stream has ended, so it is no secret."""
        held, self._held = self._held, b""
        return held

    def _suspicious(self, data: bytes) -> int:
        """How many bytes at the end could be the beginning of a secret."""
        tail = data[-(self._longest - 1) :] if self._longest > 1 else b""
        most = 0
        for form in self._forms:
            position = tail.find(form[:1], max(len(tail) - len(form) + 1, 0))
            while position >= 0 and len(tail) - position > most:
                if form.startswith(tail[position:]):
                    most = len(tail) - position
                    break
                position = tail.find(form[:1], position + 1)
        return most


def forms_of(secret: str) -> set[bytes]:
    """The ways in which a secret is likely to be printed."""
    raw = secret.encode()
    forms = {raw, raw.hex().encode(), _percent(raw), _percent(raw).replace(b"%20", b"+")}
    forms.add(json.dumps(secret)[1:-1].encode())
    forms.add(json.dumps(secret, ensure_ascii=False)[1:-1].encode())
    forms.add(raw.replace(b"'", b"'\\''"))
    forms |= _base64_forms(raw)
    forms |= {line.strip() for line in raw.splitlines() if len(line.strip()) >= 2 * SHORTEST}
    return {form for form in forms if len(form) >= SHORTEST}


def _base64_forms(raw: bytes) -> set[bytes]:
    """As part of a longer text a secret may begin at any of three places in a group of base64."""
    forms = set()
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + raw)
        start = (before * 8 + 5) // 6
        end = (before + len(raw)) * 8 // 6
        forms.add(whole[start:end])
        forms.add(whole[start:end].replace(b"+", b"-").replace(b"/", b"_"))
    return forms


def _percent(raw: bytes) -> bytes:
    safe = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
    return b"".join(bytes((byte,)) if byte in safe else b"%%%02X" % byte for byte in raw)
