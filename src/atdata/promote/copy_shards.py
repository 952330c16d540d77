"""Copying the shards of a promotion to their store."""

from __future__ import annotations

from collections.abc import Sequence

from atdata._protocols import AbstractDataStore
from atdata._shardlist import ShardInfo
from atdata.capabilities import (
    Progress,
    SupportsCopy,
    SupportsMaxShardBytes,
    SupportsRecordedType,
)
from atdata.dataset.dataset import Dataset
from atdata.dataset.named_splits import keep_splits
from atdata.indexing.placement import copied_shards, written_shards
from atdata.promote.request import Request
from atdata.sources.subset import SubsetSource


def copied(
    request: Request, store: AbstractDataStore, progress: Progress | None
) -> tuple[ShardInfo, ...]:
    """Every shard, in the store, with the split that it had.

    Raises:
        IntegrityError: A shard does not have the bytes that were recorded.
        StoreError: The store fails, or returns other than what it was to place.
        OptionError: A single sample is larger than the store takes.
    """
    if not isinstance(store, SupportsCopy):
        dataset = request.dataset()
        written = store.write_shards(dataset, prefix=request.prefix)
        return keep_splits(written_shards(store, written, dataset), request.shards)
    known = {shard.url: shard for shard in request.shards}
    shards = [known.get(url, ShardInfo(url)) for url in request.source.shard_list]
    if request.oversize == "split" and isinstance(store, SupportsMaxShardBytes):
        return _split(request, shards, store, store.max_shard_bytes(), progress)
    copies = _copies(request, shards, store, progress)
    return keep_splits(copies, shards, copies=True)


def _copies(
    request: Request,
    shards: Sequence[ShardInfo],
    store: SupportsCopy,
    progress: Progress | None,
) -> tuple[ShardInfo, ...]:
    open_shard, prefix = request.source.open_shard, request.prefix
    if progress is None:
        urls = store.copy_shards(shards, open_shard, prefix=prefix)
    else:
        urls = store.copy_shards(shards, open_shard, prefix=prefix, progress=progress)
    if isinstance(store, SupportsRecordedType):
        store.record_type(request.dataset().sample_type, prefix=prefix)
    return copied_shards(store, urls, shards)


def _split(
    request: Request,
    shards: Sequence[ShardInfo],
    store: SupportsCopy,
    limit: int,
    progress: Progress | None,
) -> tuple[ShardInfo, ...]:
    """Copy the shards that fit, and write the samples of the others again; in order."""
    assert isinstance(store, AbstractDataStore)
    fitting = [shard for shard in shards if shard.bytes is not None and shard.bytes <= limit]
    copies: dict[str, ShardInfo] = {}
    if fitting:
        placed = _copies(request, fitting, store, progress)
        copies = dict(zip((shard.url for shard in fitting), placed, strict=True))
    if len(copies) == len(shards):
        return tuple(copies.values())
    dataset = request.dataset()
    pieces: list[ShardInfo] = []
    for shard in shards:
        if shard.url in copies:
            pieces.append(copies[shard.url])
            continue
        source = SubsetSource(dataset.source, [shard.url])
        alone = Dataset.of(dataset.sample_type, source, shards=[shard])
        # The same samples give the same shards, so that a second run sends none of them again.
        written = store.write_shards(alone, prefix=request.prefix, maxsize=limit)
        pieces += keep_splits(written_shards(store, written, alone), [shard])
        if progress is not None:
            progress(shard.bytes or 0)
    return tuple(pieces)
