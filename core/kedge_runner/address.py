"""Where an attempt finds Kedge, and what it shows there."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final


class Address:
    """The endpoint, what begins each path, and the attempt's own token."""

    def __init__(self, endpoint: str, token: str, prefix: str) -> None:
        """As `Client` takes them."""
        self.endpoint: Final = endpoint
        self.token: Final = token
        self.prefix: Final = prefix
