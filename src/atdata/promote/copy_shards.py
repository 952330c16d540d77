"""Moving the shards of a promotion to their store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import IO, Any

from atdata._protocols import AbstractDataStore
from atdata._shardlist import ShardInfo, ShardUrls, shards_of
from atdata.atmosphere.blobs import PDSBlobStore
from atdata.capabilities import Progress
from atdata.dataset.dataset import Dataset
from atdata.dataset.named_splits import keep_splits
from atdata.promote.request import Request
from atdata.sources.subset import SubsetSource


def copied(
    request: Request, store: AbstractDataStore, progress: Progress | None
) -> tuple[ShardInfo, ...]:
    """Every shard, in the store, with the split that it had.

    Raises:
        IntegrityError: A shard does not have the bytes that were recorded.
        StoreError: The store fails.
        OptionError: A single sample is larger than the blobs that the server takes.
    """
    dataset = request.dataset()
    known = {shard.url: shard for shard in request.shards}
    if not callable(getattr(store, "copy_shards", None)):
        # A store with the three members of the protocol alone: it gets the samples.
        written = store.write_shards(dataset, prefix=request.prefix)
        return keep_splits(shards_of(written), request.shards)
    shards = [known.get(url, ShardInfo(url)) for url in dataset.shard_list]
    if request.oversize == "split" and isinstance(store, PDSBlobStore):
        return _split(dataset, shards, store, request.prefix, progress).shards
    copies = _copied(store, shards, dataset.source.open_shard, request.prefix, progress)
    return keep_splits(shards_of(copies), shards, copies=True)


def _copied(
    store: Any,
    shards: Sequence[ShardInfo],
    open_shard: Callable[[str], IO[bytes]],
    prefix: str,
    progress: Progress | None,
) -> list[str]:
    # Stores of others may copy, but not tell how far they are.
    told = {} if progress is None else {"progress": progress}
    urls: list[str] = store.copy_shards(shards, open_shard, prefix=prefix, **told)
    return urls


def _split(
    dataset: Dataset[Any],
    shards: Sequence[ShardInfo],
    store: PDSBlobStore,
    prefix: str,
    progress: Progress | None,
) -> ShardUrls:
    """Copy the shards that fit, and write the samples of the others anew; in order."""
    limit = store.client.blob_limit
    fitting = [shard for shard in shards if shard.bytes is not None and shard.bytes <= limit]
    small = {}
    if fitting:
        urls = _copied(store, fitting, dataset.source.open_shard, prefix, progress)
        small = dict(zip((shard.url for shard in fitting), shards_of(urls), strict=True))
    placed: list[ShardInfo] = []
    for shard in shards:
        if shard.url in small:
            placed.append(small[shard.url])
            continue
        source = SubsetSource(dataset.source, [shard.url])
        alone = Dataset.of(dataset.sample_type, source, shards=[shard])
        # The same samples give the same shards, so that a second run sends none of them again.
        placed += store.write_shards(alone, prefix=prefix, maxsize=limit).shards
        if progress is not None:
            progress(shard.bytes or 0)
    return ShardUrls(placed)
