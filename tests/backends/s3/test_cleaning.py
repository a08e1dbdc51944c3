"""What nothing needs goes from a bucket, while two nodes clean it and uploads want it again."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tests.core.workers.conftest import Platform, manifest_of

from kedge.cleaning.cleaner import Cleaner
from kedge.config.settings import RetentionSettings
from kedge.testing.blobs import fetch, keys
from kedge.workers.doomed import DoomedBlobs
from kedge.workers.manifest import file_key, manifest_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from kedge.db.engine import Database

FEW = RetentionSettings(versions=1, versions_for=0, deployments=1)


async def test_two_nodes_clear_a_bucket_and_uploads_lose_nothing(
    place: Any, opened: Callable[..., Any], db: Database
) -> None:
    store = await opened(place)
    platform = Platform(db, store)
    await platform.add_worker("hello")
    account = platform.principal.account_id
    cleaners = [
        # the store's clock counts whole seconds
        Cleaner(db, store, DoomedBlobs(db, store, node), FEW, print, young=timedelta(seconds=-5))
        for node in ("one", "other")
    ]
    trees = [{"a": b"%d" % number, "b": b"common"} for number in range(3)]
    for number in range(6):
        await asyncio.gather(platform.upload(trees[number % 3]), *[one.clean() for one in cleaners])

    await cleaners[0].clean()

    digest = manifest_of(trees[2]).digest
    assert await keys(store, "manifests/") == [manifest_key(account, digest)]
    files = {name: file.sha256 for name, file in manifest_of(trees[2]).files.items()}
    assert len(await keys(store, "files/")) == 2
    for name, sha256 in files.items():
        assert await fetch(store, file_key(account, sha256)) == trees[2][name]
