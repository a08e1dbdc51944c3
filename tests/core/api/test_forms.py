"""A value in the form that a client sends."""

from __future__ import annotations

import time

import pytest

from kedge.api.forms import MOST_PARTS, value_of
from kedge.errors import InvalidInput

FORM = "multipart/form-data; boundary=a"


def form(*parts: bytes) -> bytes:
    return b"".join(b"--a\r\n" + part + b"\r\n" for part in parts) + b"--a--\r\n"


def part(name: str, contents: bytes = b"{}") -> bytes:
    return b'Content-Disposition: form-data; name="' + name.encode() + b'"\r\n\r\n' + contents


@pytest.mark.parametrize(
    "head",
    [
        b'Content-Disposition: form-data; name="settings"',
        b"content-disposition:form-data; name=settings",
        b'Content-Type: application/json\r\nCONTENT-DISPOSITION: form-data; filename="a;b"; name="settings"',
    ],
)
def test_a_part_is_found_by_its_name(head: bytes) -> None:
    body = form(part("other", b"1"), head + b"\r\n\r\n{\r\n}", part("settings", b"2"))

    assert value_of(FORM, body, "settings") == b"{\r\n}"


def test_parts_without_a_name_are_nobodys() -> None:
    nameless = (
        b"",
        b"\r\n\r\n2",
        b"Content-Type: text/plain\r\n\r\n3",
        b"Content-Disposition: form-data\r\n\r\n4",
    )

    assert value_of(FORM, form(*nameless, part("settings", b"1")), "settings") == b"1"


def test_a_form_has_so_many_parts() -> None:
    most = [part(f"p{number}") for number in range(MOST_PARTS - 1)]

    assert value_of(FORM, form(*most, part("settings", b"1")), "settings") == b"1"
    with pytest.raises(InvalidInput, match="64 parts"):
        value_of(FORM, form(*most, part("p"), part("settings")), "settings")


MIB = 2**20
HEAD = b'--a\r\nContent-Disposition: form-data; name="'


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (FORM, b"\r\n--a" * (MIB // 5)),
        (FORM, b"--a\r\n" + b"a: b\r\n" * (MIB // 6)),
        (FORM, (HEAD + b";" * 4000) * (MIB // 4040)),
        (FORM, HEAD + b";" * MIB),
        (FORM, b"--a\r\nContent-Disposition: " + b";" * MIB),
        ('multipart/form-data; x="' + ";" * 60_000, b""),
        ("multipart/form-data;" + " a*0=b;" * 10_000, b""),
    ],
)
def test_a_form_that_is_made_to_take_long_is_refused_at_once(content_type: str, body: bytes) -> None:
    began = time.process_time()

    with pytest.raises(InvalidInput):
        value_of(content_type, body, "settings")

    assert time.process_time() - began < 1, "what is quadratic takes more, on any machine"
