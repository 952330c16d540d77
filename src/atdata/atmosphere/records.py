"""Records of the network, made from our objects.

What a schema's record says is in `atdata.schema.record`; the way back is in `parsing`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from atdata._refs import DATASET_COLLECTION
from atdata._shardlist import ShardInfo, fold_urls, total
from atdata.atmosphere.alt_family import alt_storage
from atdata.atmosphere.entry import StrongRef
from atdata.atmosphere.fields import own_blobs
from atdata.atmosphere.metadata import pack_metadata
from atdata.atproto.data_model import (
    MAX_RECORD,
    bytes_to_json,
    record_size,
)
from atdata.indexing.dataset_spec import DatasetSpec
from atdata.indexing.placement import PlacedShards

EXTERNAL: Final = "ac.foundation.dataset.storageExternal"
BLOBS: Final = "ac.foundation.dataset.storageBlobs"
LARGE: Final = {
    "manifest": "ac.foundation.dataset.storageManifest",
    "manifestObject": "ac.foundation.dataset.storageObject",
}
"""Storages that have only a manifest, by the name of its property."""


def content_of(shards: Sequence[ShardInfo]) -> str:
    """Identifies the data, whatever their name: made of each shard's hash, else its URL."""
    identities = json.dumps([shard.sha256 or shard.url for shard in shards])
    return hashlib.sha256(identities.encode()).hexdigest()


def dataset_record(
    did: str,
    spec: DatasetSpec,
    *,
    schema_uri: str,
    placed: PlacedShards,
    sources: Sequence[StrongRef],
    created_at: str,
    manifest: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The record of a dataset; of many shards it says only what it has room for.

    With a manifest, which says the rest, it is as small as it can be. Blobs of this account are
    referenced, so that they stay; their sizes must be known.
    """
    storage_of = _storage if spec.dataset_collection == DATASET_COLLECTION else alt_storage
    shards, metadata = placed.shards, spec.metadata
    record: dict[str, Any] = {
        "$type": spec.dataset_collection,
        "name": spec.name,
        "schemaRef": schema_uri,
        "storage": storage_of(did, shards, placed.endpoint, placed.region),
        "description": spec.description or None,
        "tags": list(spec.tags or ()) or None,
        "license": spec.license or None,
        "size": _size(shards),
        "metadata": bytes_to_json(pack_metadata(metadata)) if metadata else None,
        "sources": [{"uri": ref.uri, "cid": ref.cid} for ref in sources] or None,
        "createdAt": created_at,
    }
    record = {key: value for key, value in record.items() if value is not None}
    if manifest is not None:
        storage = record["storage"]
        del storage["shards"]
        storage.update(manifest)
        if storage["$type"] == BLOBS or record_size(record) > MAX_RECORD:
            # A type of its own: a reader that knows no manifests must not take a part for all.
            storage["$type"] = next(kind for name, kind in LARGE.items() if name in manifest)
            storage.pop("blobs", None)
            storage.pop("urls", None)
    return record


def _storage(
    did: str, shards: Sequence[ShardInfo], endpoint: str | None, region: str | None
) -> dict[str, Any]:
    details = {"shards": [shard.to_dict() for shard in shards]}
    blobs = own_blobs(did, shards)
    if blobs and len(blobs) == len(shards):
        return {"$type": BLOBS, "blobs": blobs, **details}
    place = {"endpoint": endpoint, "region": region}
    return {
        "$type": EXTERNAL,
        "urls": [fold_urls([shard.url for shard in shards])],
        **{key: value for key, value in place.items() if value},
        **details,
    }


def _size(shards: Sequence[ShardInfo]) -> dict[str, int]:
    known = {
        "shards": len(shards),
        "samples": total(shard.samples for shard in shards),
        "bytes": total(shard.bytes for shard in shards),
    }
    return {key: number for key, number in known.items() if number is not None}
