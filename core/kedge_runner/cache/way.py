"""The way of one archive: straight to the store, or through Kedge where the store is out of reach."""

from __future__ import annotations

from functools import partial

from kedge_runner.cache.transfer import Again, Request, Unreachable, persist

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from kedge_runner.cache.kedge import Kedge

    Work = Callable[[Request], None]


class Way:
    """A build without a network reaches Kedge by its socket and the store not at all."""

    def __init__(self, kedge: Kedge, presigned: Mapping[str, Any] | None, path: str) -> None:
        """`presigned` is how the store has said to reach it; `path` is the archive's at Kedge."""
        self._kedge = kedge
        self._direct = Request.presigned(presigned) if presigned else None
        self._path = path

    def travel(self, work: Work) -> None:
        """Do `work` with a request, and again after a pause if it broke off. Raises `CacheFailed`."""
        if self._direct is not None and self._kedge.store_in_reach:
            try:
                persist(partial(work, self._direct))
            except Unreachable as error:
                self._kedge.give_up_store(error)
            else:
                return
        persist(partial(self._through_kedge, work))

    def _through_kedge(self, work: Work) -> None:
        try:
            work(self._kedge.request(self._path))
        except Unreachable as error:
            raise Again(str(error)) from error
