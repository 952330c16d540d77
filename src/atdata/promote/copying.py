"""Moving the shards of a promotion to their store."""

from __future__ import annotations

from typing import Any

from atdata._protocols import AbstractDataStore
from atdata._shardlist import ShardInfo
from atdata.promote.request import Request
from atdata.stores.spool import Progress


def copied(request: Request, store: AbstractDataStore, progress: Progress | None) -> list[str]:
    """Every shard, in the store.

    Raises:
        IntegrityError: A shard does not have the bytes that were recorded.
        StoreError: The store fails.
    """
    dataset = request.dataset()
    copy_shards: Any = getattr(store, "copy_shards", None)
    if copy_shards is None:
        # A store with the three members of the protocol alone: it gets the samples.
        return store.write_shards(dataset, prefix=request.prefix)
    known = {shard.url: shard for shard in request.shards}
    shards = [known.get(url, ShardInfo(url)) for url in dataset.shard_list]
    urls: list[str] = copy_shards(
        shards, dataset.source.open_shard, prefix=request.prefix, progress=progress
    )
    return urls
