"""When each runner was last heard of on this node."""

from __future__ import annotations

from kedge.db.clock import now_ms


class Liveness:
    """Moments by attempt, in memory: writing one costs nothing, and a new node starts counting anew."""

    def __init__(self) -> None:
        """Count from now for those never heard of."""
        self._started = now_ms()
        self._heard: dict[tuple[str, int], int] = {}
        self._news: dict[tuple[str, int], int] = {}

    def heard(self, build_uuid: str, attempt: int) -> None:
        """Its runner has just said something."""
        self._heard[build_uuid, attempt] = self._news[build_uuid, attempt] = now_ms()

    def last(self, build_uuid: str, attempt: int) -> int:
        """When its runner last said something, or when this node started."""
        return self._heard.get((build_uuid, attempt), self._started)

    def news(self) -> dict[tuple[str, int], int]:
        """When each runner was last heard of since the last call; several nodes tell each other by this."""
        news, self._news = self._news, {}
        return news

    def forget(self, build_uuid: str, attempt: int) -> None:
        """The attempt has ended."""
        self._heard.pop((build_uuid, attempt), None)
        self._news.pop((build_uuid, attempt), None)
