"""S3 keeps what every blob store promises, on Ceph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.backends.s3.suite import S3Suite

if TYPE_CHECKING:
    from collections.abc import Callable

    from kedge import BlobStore


class TestS3OnCeph(S3Suite):
    @pytest.fixture
    async def store(self, place: Any, opened: Callable[..., Any]) -> BlobStore:
        self.place, self.opened = place, opened
        store: BlobStore = await opened(place)
        return store
