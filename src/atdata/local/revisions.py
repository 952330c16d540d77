"""Adding a revision of a dataset, unless an equal one exists."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from atdata.dataset.named_splits import same_splits
from atdata.indexing.dataset_spec import DatasetSpec
from atdata.indexing.placement import PlacedShards, has_size
from atdata.local.backends.base import Backend
from atdata.local.entry import LocalDatasetEntry, content_cid, from_row, to_row
from atdata.local.search_terms import entry_terms


def add_revision(
    backend: Backend, spec: DatasetSpec, schema_ref: str, placed: PlacedShards
) -> LocalDatasetEntry:
    """Add the next revision of a name, unless the newest says the same already; what counts now.

    What the spec, which is checked, does not give is taken from the newest revision. Two programs
    that see the same shards with two versions of a class do not take turns in adding revisions:
    each finds its own.
    """
    name, cid = spec.name, content_cid(schema_ref, placed.shards)
    while True:
        row = backend.newest(name)
        newest = None if row is None else from_row(row)
        described = spec if newest is None else spec.over(newest)
        entry = LocalDatasetEntry(
            name=name,
            schema_ref=schema_ref,
            shards=placed.shards,
            metadata=None if described.metadata is None else dict(described.metadata),
            description=described.description or None,
            tags=described.tags or (),
            license=described.license or None,
            endpoint=placed.endpoint,
            region=placed.region,
            stranger=placed.stranger,
            revision=1 if newest is None else newest.revision + 1,
            cid=cid,
        )
        if newest is not None and _says_the_same(newest, entry) and _in_place(newest, placed):
            return newest
        if newest is not None and _same_shards(newest, entry):
            for older in reversed(backend.history(name)[:-1]):
                known = from_row(older) if older.cid == cid else None
                if known and _says_the_same(known, entry) and _in_place(known, placed):
                    return known
        # Another writer may have added this revision in the meantime: then compare with that one.
        if backend.add_entry(to_row(entry), entry_terms(entry)):
            return entry


def _same_shards(newest: LocalDatasetEntry, entry: LocalDatasetEntry) -> bool:
    """Whether two entries have the same bytes and different schemas."""
    if newest.schema_ref == entry.schema_ref:
        return False
    hashes = [shard.sha256 for shard in entry.shards]
    return all(hashes) and hashes == [shard.sha256 for shard in newest.shards]


def _says_the_same(newest: LocalDatasetEntry, entry: LocalDatasetEntry) -> bool:
    # Compared as they are stored: NaN in metadata does not equal itself.
    same = replace(entry, created_at=newest.created_at, shards=newest.shards)
    same = replace(same, endpoint=newest.endpoint, region=newest.region)
    same = replace(same, stranger=newest.stranger, revision=newest.revision)
    return to_row(same) == to_row(newest)


def _in_place(newest: LocalDatasetEntry, placed: PlacedShards) -> bool:
    """Whether the shards of a revision with the same content are where they should be."""
    place = (placed.endpoint, placed.region, placed.stranger)
    if (newest.endpoint, newest.region, newest.stranger) != place:
        return False
    if not same_splits(newest.shards, placed.shards):
        return False
    old = [shard.url for shard in newest.shards]
    if old == [shard.url for shard in placed.shards]:
        return True
    if placed.root is not None:
        return all(url.startswith(placed.root) for url in old)
    # Files that were copied or moved: the entry stays valid while its own paths lead to its shards.
    return all("://" not in url for url in old) and all(
        has_size(Path(shard.url), shard.bytes) for shard in newest.shards
    )
