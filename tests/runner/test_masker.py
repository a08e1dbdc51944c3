"""What takes secrets out of the log."""

from __future__ import annotations

import base64
import json
from itertools import pairwise
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge_runner.masker import Masker

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = 'pa$s wörd/+"quoted"'
KEY = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEF\nAASCBKcwggSjAgEAAoIBAQC7\n-----END KEY-----"

#: few letters, so that secrets overlap each other and themselves
small_texts = st.text("ab\n", max_size=40).map(str.encode)
small_secrets = st.lists(st.text("ab\n", min_size=3, max_size=8), max_size=4)


def masked(secrets: list[str], *parts: bytes) -> bytes:
    masker = Masker(secrets)
    return b"".join(map(masker.feed, parts)) + masker.finish()


def cut(text: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[start:end] for start, end in pairwise(edges)]


@given(small_secrets, small_texts, st.lists(st.integers(0, 100), max_size=8))
def test_a_text_is_masked_the_same_however_it_is_cut(
    secrets: list[str], text: bytes, places: list[int]
) -> None:
    assert masked(secrets, *cut(text, places)) == masked(secrets, text)


@given(
    st.lists(st.sampled_from(["one-secret", "two;secret", KEY]), min_size=1),
    st.lists(st.sampled_from([b"one-secret", b"two;secret", KEY.encode(), b"one-", b"\n", b"x"])),
    st.lists(st.integers(0, 1000), max_size=12),
)
def test_no_secret_comes_through_in_any_cut(
    secrets: list[str], pieces: list[bytes], places: list[int]
) -> None:
    seen = masked(secrets, *cut(b"".join(pieces), places))

    assert not [secret for secret in secrets if secret.encode() in seen]


@given(st.integers(1, len(KEY.encode()) - 1), st.sampled_from([b"", b"before ", b"before\n"]))
def test_nothing_of_a_secret_is_shown_while_its_end_has_not_come(length: int, before: bytes) -> None:
    masker = Masker([KEY])

    shown = masker.feed(before + KEY.encode()[:length])

    # the lines of a key are secrets themselves, so the ones that are whole may be shown as stars
    assert set(shown.removeprefix(before)) <= set(b"*\n")
    assert b"-" not in shown


def test_what_only_began_like_a_secret_is_shown_in_the_end() -> None:
    masker = Masker(["secret-value"])

    assert masker.feed(b"a secret-") == b"a "
    assert masker.feed(b"garden") == b"secret-garden"
    assert masker.feed(b" secret-v") == b" "
    assert masker.finish() == b"secret-v"


@pytest.mark.parametrize("secret", [SECRET, KEY, "plain-token-1234", "ünïcödé", "tab\tand\\slash"])
@pytest.mark.parametrize(
    "encode",
    [
        str.encode,
        lambda text: quote(text, safe="").encode(),
        lambda text: quote(text).encode(),
        lambda text: quote_plus(text).encode(),
        lambda text: json.dumps(text)[1:-1].encode(),
        lambda text: json.dumps(text, ensure_ascii=False)[1:-1].encode(),
        lambda text: text.encode().hex().encode(),
        lambda text: text.encode().hex().upper().encode(),
        lambda text: text.replace("\n", "\r\n").encode(),
    ],
    ids=["plain", "url", "path", "form", "json", "json-utf8", "hex", "HEX", "crlf"],
)
def test_a_secret_is_known_in_every_usual_form(secret: str, encode: Callable[[str], bytes]) -> None:
    form = encode(secret)

    assert masked([secret], b"<" + form + b">") == b"<***>"


@pytest.mark.parametrize("before", ["", "u", "us", "use"])
@pytest.mark.parametrize("after", ["", "x", "xy", "xyz"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_base64_shows_no_secret_wherever_it_begins_in_a_text(
    before: str, after: str, encode: Callable[[bytes], bytes]
) -> None:
    secret = "s3cr?t>>value~~\x7f"

    shown = masked([secret], encode((before + secret + after).encode()))

    assert b"***" in shown
    # at each side one letter of base64 may hold bits of both the secret and its neighbour
    rest = len(shown.replace(b"***", b"").rstrip(b"="))
    assert rest <= (len(before) * 8 + 5) // 6 + (len(after) * 8 + 5) // 6 + 2


@pytest.mark.parametrize("width", [76, 64])
def test_base64_in_lines_shows_nothing_of_a_long_secret(width: int) -> None:
    encoded = base64.b64encode(KEY.encode() * 2)
    lines = [encoded[at : at + width] for at in range(0, len(encoded), width)]

    shown = masked([KEY * 2], b"\n".join(lines))

    assert not [line for line in lines[:-1] if line in shown]


def test_single_lines_of_a_secret_of_several_are_secret() -> None:
    lines = [line for line in KEY.encode().splitlines() if b"KEY" not in line]

    assert masked([KEY], b"| " + b" |\n| ".join(lines) + b" |") == b"| *** |\n| *** |"


def test_of_two_secrets_that_begin_alike_the_longer_is_masked() -> None:
    assert masked(["token", "token-and-more"], b"token-and-more token-and") == b"*** ***-and"


@pytest.mark.parametrize("secret", ["", " ", "a", "ab", "\n\n"])
def test_values_too_short_to_be_secrets_do_not_spoil_the_log(secret: str) -> None:
    assert masked([secret], b"ab a b\n\n") == b"ab a b\n\n"
