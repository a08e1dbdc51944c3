"""S3 keeps what every blob store promises, on Ceph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kedge.testing.blobs import BlobStoreSuite

if TYPE_CHECKING:
    from collections.abc import Callable

    from kedge import BlobStore


class TestS3OnCeph(BlobStoreSuite):
    many = 250

    @pytest.fixture
    async def store(self, place: Any, opened: Callable[..., Any]) -> BlobStore:
        self.place, self.opened = place, opened
        store: BlobStore = await opened(place)
        return store

    async def reopen(self, store: BlobStore) -> BlobStore:
        again: BlobStore = await self.opened(self.place)
        return again
