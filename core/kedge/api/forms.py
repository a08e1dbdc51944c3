"""A value in a `multipart/form-data` body, which is how clients of Workers send settings."""

from __future__ import annotations

from email.message import Message
from typing import TYPE_CHECKING

import orjson

from kedge.api.form_fields import gather
from kedge.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator

FORM = "multipart/form-data"
DISPOSITION = b"content-disposition"
#: the standard library takes the square of the time for headers that are longer
LONGEST_TYPE = 512
LONGEST_HEAD = 4096
MOST_PARTS = 64


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
    for number, part in enumerate((b"\r\n" + body).split(marker, MOST_PARTS + 1)[1:]):
        if part.startswith(b"--"):
            break
        if number == MOST_PARTS:
            raise InvalidInput(f"a form may have {MOST_PARTS} parts")
        head, _, contents = part.partition(b"\r\n\r\n")
        yield _name(head), contents


def _name(head: bytes) -> str:
    """How a part is called; empty for one that is not."""
    if len(head) > LONGEST_HEAD:
        raise InvalidInput(f"the head of a form's part may have {LONGEST_HEAD} bytes")
    for line in head.split(b"\r\n"):
        kind, _, value = line.partition(b":")
        if kind.strip().lower() == DISPOSITION:
            return str(_header(value.decode("utf-8", "replace")).get_param("name", ""))
    return ""


def _boundary(content_type: str) -> bytes:
    if len(content_type) > LONGEST_TYPE:
        raise InvalidInput(f"a Content-Type may have {LONGEST_TYPE} characters")
    boundary = _header(content_type).get_boundary()
    if not boundary or len(boundary) > 70:
        raise InvalidInput(f"{FORM} needs a boundary of 1 to 70 characters in Content-Type")
    return boundary.encode("latin-1", "replace")


def _header(value: str) -> Message:
    """A header with parameters, under the name at which the standard library looks for them."""
    header = Message()
    header["Content-Type"] = value
    return header
