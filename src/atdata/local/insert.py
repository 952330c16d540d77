"""How a placed dataset becomes an entry, and whether that is new."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from atdata._secrets import redacted_repr
from atdata.dataset.named_splits import same_splits
from atdata.indexing.details import Details
from atdata.indexing.insertion import Placed, has_size
from atdata.local.backends.base import Backend
from atdata.local.entry import LocalDatasetEntry, content_cid, from_row, to_row
from atdata.local.search_terms import entry_terms


@redacted_repr
@dataclass(frozen=True)
class Draft:
    """An entry to be: not yet compared with what is there."""

    name: str
    details: Details
    schema_ref: str
    placed: Placed


def record(backend: Backend, draft: Draft) -> LocalDatasetEntry:
    """Add the draft as the next revision of its name, unless the newest says the same already.

    Description, tags, licence and metadata that are not given are those of the newest revision.
    Two programs that see the same shards with two versions of a class do not take turns in
    adding revisions: each finds its own.

    Returns:
        The entry that is recorded now.
    """
    cid = content_cid(draft.schema_ref, draft.placed.shards)
    while True:
        row = backend.newest(draft.name)
        newest = None if row is None else from_row(row)
        details = draft.details
        if newest is not None:
            details = details.over(_details_of(newest))
        entry = LocalDatasetEntry(
            name=draft.name,
            schema_ref=draft.schema_ref,
            shards=draft.placed.shards,
            metadata=details.metadata,
            description=details.description or None,
            tags=details.tags or (),
            license=details.license or None,
            endpoint=draft.placed.endpoint,
            region=draft.placed.region,
            stranger=draft.placed.stranger,
            revision=1 if newest is None else newest.revision + 1,
            cid=cid,
        )
        if newest is not None and _says_the_same(newest, entry) and _in_place(newest, draft.placed):
            return newest
        if newest is not None and _same_shards(newest, entry):
            for older in reversed(backend.history(draft.name)[:-1]):
                known = from_row(older) if older.cid == cid else None
                if known and _says_the_same(known, entry) and _in_place(known, draft.placed):
                    return known
        # Another writer may have added this revision meanwhile: then compare with that.
        if backend.add_entry(to_row(entry), entry_terms(entry)):
            return entry


def _details_of(entry: LocalDatasetEntry) -> Details:
    return Details(entry.description, entry.tags, entry.license, entry.metadata)


def _same_shards(newest: LocalDatasetEntry, entry: LocalDatasetEntry) -> bool:
    """Whether two entries have the same bytes, seen with two schemas."""
    if newest.schema_ref == entry.schema_ref:
        return False
    hashes = [shard.sha256 for shard in entry.shards]
    return all(hashes) and hashes == [shard.sha256 for shard in newest.shards]


def _says_the_same(newest: LocalDatasetEntry, entry: LocalDatasetEntry) -> bool:
    # Compared as they are kept: NaN in metadata does not equal itself.
    same = replace(entry, created_at=newest.created_at, shards=newest.shards)
    same = replace(same, endpoint=newest.endpoint, region=newest.region)
    same = replace(same, stranger=newest.stranger, revision=newest.revision)
    return to_row(same) == to_row(newest)


def _in_place(newest: LocalDatasetEntry, placed: Placed) -> bool:
    """Whether the shards of the newest revision, same in content, are where they are wanted."""
    said = (placed.endpoint, placed.region, placed.stranger)
    if (newest.endpoint, newest.region, newest.stranger) != said:
        return False
    if not same_splits(newest.shards, placed.shards):
        return False
    old = [shard.url for shard in newest.shards]
    if old == [shard.url for shard in placed.shards]:
        return True
    if placed.root is not None:
        return all(url.startswith(placed.root) for url in old)
    # Files that were copied or moved: the entry stands as long as it leads to its shards.
    return all("://" not in url for url in old) and all(
        has_size(Path(shard.url), shard.bytes) for shard in newest.shards
    )
