"""The ways in which a secret is likely to be printed."""

from __future__ import annotations

import binascii

from kedge_runner.jsontext import dumps

#: shorter values would mask half of an ordinary log
SHORTEST = 3
#: the same for what is derived of a value, which nobody sees as often
SHORTEST_FORM, SHORTEST_LINE = 5, 6
#: where `base64` and `openssl base64` break lines
WRAPS = (76, 64)

UNRESERVED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"


def forms_of(secret: str) -> set[bytes]:
    """The value itself, its lines, and what encoders make of it; nothing for a value too short to mask."""
    text = secret.strip()
    raw = text.encode("utf-8", "surrogateescape")
    if len(raw) < SHORTEST:
        return set()
    forms = {percent(raw), percent(raw).replace(b"%20", b"+"), percent(raw, b"/"), percent(raw, lower=True)}
    forms |= {dumps(text)[1:-1].encode(), _json_as_it_is(raw), raw.replace(b"'", b"'\\''"), _escaped(raw)}
    forms.add(raw.replace(b"'", b"'\"'\"'"))
    forms |= {raw.hex().encode(), raw.hex().upper().encode(), raw.replace(b"\n", b"\r\n")}
    forms |= _base64_forms(raw)
    forms = {form for form in forms if len(form) >= SHORTEST_FORM}
    lines = {line.strip() for line in raw.splitlines()}
    return forms | {line for line in lines if len(line) >= SHORTEST_LINE} | {raw}


def percent(raw: bytes, safe: bytes = b"", *, lower: bool = False) -> bytes:
    """As in a URL."""
    escape = b"%%%02x" if lower else b"%%%02X"
    kept = UNRESERVED + safe
    return b"".join(raw[at : at + 1] if byte in kept else escape % byte for at, byte in enumerate(raw))


def _json_as_it_is(raw: bytes) -> bytes:
    """JSON by an encoder that leaves characters beyond ASCII alone."""
    raw = raw.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return raw.replace(b"\n", b"\\n").replace(b"\r", b"\\r").replace(b"\t", b"\\t")


def _escaped(raw: bytes) -> bytes:
    """As a shell shows it when it traces commands, or in a double-quoted word."""
    for letter in b'\\"$`':
        raw = raw.replace(b"%c" % letter, b"\\%c" % letter)
    return raw


def _base64_forms(raw: bytes) -> set[bytes]:
    """As part of a longer text a secret may begin at any of three places in a group of base64."""
    forms = set()
    for before in range(3):
        whole = binascii.b2a_base64(b"\0" * before + raw, newline=False)
        # sextets that hold bits of the secret alone
        forms.add(whole[(before * 8 + 5) // 6 : (before + len(raw)) * 8 // 6])
    alone = binascii.b2a_base64(raw, newline=False)[: len(raw) * 8 // 6]
    for width in WRAPS:
        if len(alone) > width:
            pieces = [alone[at : at + width] for at in range(0, len(alone), width)]
            forms.update(piece for piece in pieces if len(piece) >= 2 * SHORTEST_LINE)
    return forms | {form.replace(b"+", b"-").replace(b"/", b"_") for form in forms}
