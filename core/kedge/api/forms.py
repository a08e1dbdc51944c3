"""A value in a `multipart/form-data` body, which is how clients of Workers send settings."""

from __future__ import annotations

from email.message import Message
from email.parser import BytesHeaderParser
from typing import TYPE_CHECKING

import orjson

from kedge.api.form_fields import gather
from kedge.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator

FORM = "multipart/form-data"


def is_form(content_type: str) -> bool:
    """Whether a body of this `Content-Type` is a form."""
    return content_type.partition(";")[0].strip().lower() == FORM


def value_of(content_type: str, body: bytes, name: str) -> bytes:
    """The JSON in the part of that name, or whose fields the parts `name[…]` are. Raises `InvalidInput`."""
    parts = list(_parts(content_type, body))
    for found, contents in parts:
        if found == name:
            return contents
    fields = [(found, contents) for found, contents in parts if found.startswith(f"{name}[")]
    if not fields:
        raise InvalidInput(f'the form has no part "{name}": send it as JSON, or as a form with that part')
    try:
        return orjson.dumps(gather((found, contents.decode()) for found, contents in fields))
    except UnicodeDecodeError as error:
        raise InvalidInput(f'the fields of "{name}" are texts in UTF-8') from error


def _parts(content_type: str, body: bytes) -> Iterator[tuple[str, bytes]]:
    """The name and the contents of each part."""
    marker = b"\r\n--" + _boundary(content_type)
    # what stands before the first marker belongs to no part, nor does what follows one with `--`
    for part in (b"\r\n" + body).split(marker)[1:]:
        if part.startswith(b"--"):
            break
        head, _, contents = part.partition(b"\r\n\r\n")
        name = BytesHeaderParser().parsebytes(head.lstrip()).get_param("name", "", "Content-Disposition")
        yield str(name), contents


def _boundary(content_type: str) -> bytes:
    header = Message()
    header["Content-Type"] = content_type
    boundary = header.get_boundary()
    if not boundary or len(boundary) > 70:
        raise InvalidInput(f"{FORM} needs a boundary of 1 to 70 characters in Content-Type")
    return boundary.encode("latin-1", "replace")
