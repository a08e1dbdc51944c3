"""One part of a `multipart/form-data` body, which is how clients of Workers send settings."""

from __future__ import annotations

from email.message import Message
from email.parser import BytesHeaderParser

from kedge.errors import InvalidInput

FORM = "multipart/form-data"


def is_form(content_type: str) -> bool:
    """Whether a body of this `Content-Type` is a form."""
    return content_type.partition(";")[0].strip().lower() == FORM


def part_of(content_type: str, body: bytes, name: str) -> bytes:
    """The contents of the part of that name. Raises `InvalidInput`."""
    marker = b"\r\n--" + _boundary(content_type)
    # what stands before the first marker belongs to no part, nor does what follows one with `--`
    for part in (b"\r\n" + body).split(marker)[1:]:
        if part.startswith(b"--"):
            break
        head, _, contents = part.partition(b"\r\n\r\n")
        if BytesHeaderParser().parsebytes(head.lstrip()).get_param("name", "", "Content-Disposition") == name:
            return contents
    raise InvalidInput(f'the form has no part "{name}": send it as JSON, or as a form with that part')


def _boundary(content_type: str) -> bytes:
    header = Message()
    header["Content-Type"] = content_type
    boundary = header.get_boundary()
    if not boundary or len(boundary) > 70:
        raise InvalidInput(f"{FORM} needs a boundary of 1 to 70 characters in Content-Type")
    return boundary.encode("latin-1", "replace")
