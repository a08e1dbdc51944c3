"""What a value must be, in words, where pydantic has found that it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

COMMIT = r"^[0-9a-f]{7,64}$"
IMAGE = r"^[a-zA-Z0-9][\w./:@-]*$"
NO_CONTROLS = r"^[^\x00-\x1f\x7f]+$"
NO_NUL = r"^[^\x00]*$"
SHA256 = r"^[0-9a-f]{64}$"
SHORT_NAME = r"^[A-Za-z0-9._-]{1,64}$"
URL_PATH = r"^/[!-~]*$"
VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]{0,127}$"
_PATTERNS = {
    COMMIT: "must be the hash of a commit, or 7 or more of its first characters: 0-9 and a-f",
    IMAGE: "must be the name of a container image",
    NO_CONTROLS: "must be a text without control characters",
    NO_NUL: "must be a text without NUL characters",
    SHA256: "must be a SHA-256 in hexadecimal",
    SHORT_NAME: "must be 1 to 64 letters, digits, dots, _ and -",
    URL_PATH: "must begin with / and have no spaces",
    VARIABLE: "must be 1 to 128 letters, digits and _, and begin with no digit",
}
_KINDS = {
    "string_type": "must be a text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "model_type": "must be a table",
    "dict_type": "must be a table",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
}
#: each with the limit that its context names
_LIMITS = {
    "string_too_long": ("max_length", "must have at most {} characters"),
    "string_too_short": ("min_length", "must have at least {} characters"),
    "too_long": ("max_length", "must have at most {} items"),
    "too_short": ("min_length", "must have at least {} items"),
    "greater_than": ("gt", "must be more than {}"),
    "greater_than_equal": ("ge", "must be at least {}"),
    "less_than": ("lt", "must be less than {}"),
    "less_than_equal": ("le", "must be at most {}"),
}


def in_words(details: ErrorDetails) -> str:
    """What is wrong, for whoever wrote the value; nothing of how it was checked."""
    kind, context = details["type"], details.get("ctx", {})
    if kind in _KINDS:
        return _KINDS[kind]
    if kind in _LIMITS:
        limit, words = _LIMITS[kind]
        text = words.format(context[limit])
        return text.removesuffix("s") if context[limit] == 1 else text
    if kind in {"literal_error", "enum"}:
        return f"must be one of {context.get('expected', '')}".replace("'", '"')
    if kind == "string_pattern_mismatch":
        return _PATTERNS.get(context["pattern"], f"must match {context['pattern']}")
    message = details["msg"].removeprefix("Value error, ")
    return message.replace("Input should be", "must be").replace("should have", "must have")
