"""The contract of blob stores, held by stores that speak S3."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from kedge.testing.blobs import BlobStoreSuite
from kedge_s3 import blobs
from kedge_s3.trial import try_out

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from kedge import BlobStore


class S3Suite(BlobStoreSuite):
    """Give the fixture `store`, and keep in `place`, `chosen` and `opened` how it was opened."""

    many: ClassVar[int] = 250
    place: Any
    chosen: Mapping[str, Any] = MappingProxyType({})
    opened: Callable[..., Any]

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _tried_once(cls) -> Iterator[None]:
        """What a store can do is found out for the first test alone: that takes longer than most of them."""
        found: list[Any] = []

        def try_out_once(*given: Any) -> Any:
            if not found:
                found.append(try_out(*given))
            return found[0]

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(blobs, "try_out", try_out_once)
            yield

    async def reopen(self, store: BlobStore) -> BlobStore:
        again: BlobStore = await self.opened(self.place, **self.chosen)
        return again
