"""Our objects → records of the network: what they say.

What a schema's record says is in `atdata.schema.record`; the way back is in `parsing`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from atdata._refs import DATASET_COLLECTION, check_name
from atdata._shardlist import ShardInfo, fold_urls
from atdata.atmosphere.alt_family import newer_storage, own_blobs
from atdata.atmosphere.entry import StrongRef
from atdata.atmosphere.metadata import pack_metadata
from atdata.atproto.data_model import (
    MAX_RECORD,
    bytes_to_json,
    record_size,
)
from atdata.indexing.details import Details

EXTERNAL: Final = "ac.foundation.dataset.storageExternal"
BLOBS: Final = "ac.foundation.dataset.storageBlobs"
LARGE: Final = {
    "manifest": "ac.foundation.dataset.storageManifest",
    "manifestObject": "ac.foundation.dataset.storageObject",
}
"""Storages that have a manifest alone, by what they call it."""


def content_of(shards: Sequence[ShardInfo]) -> str:
    """What the data are, whatever they are called: the hash of each shard, else its URL."""
    said = json.dumps([shard.sha256 or shard.url for shard in shards])
    return hashlib.sha256(said.encode()).hexdigest()


def dataset_record(
    did: str,
    *,
    name: str,
    schema_uri: str,
    shards: Sequence[ShardInfo],
    endpoint: str | None,
    region: str | None,
    description: str | None,
    tags: Sequence[str] | None,
    license: str | None,
    metadata: Mapping[str, Any] | None,
    created_at: str,
    sources: Sequence[StrongRef] = (),
    manifest: Mapping[str, Any] | None = None,
    collection: str = DATASET_COLLECTION,
) -> dict[str, Any]:
    """The record of a dataset; of many shards it says only what it has room for.

    With a manifest, which says the rest, it is as small as it can be.

    Args:
        did: The account that publishes: its own blobs are referenced, so that they stay.
        name: Name of the dataset.
        schema_uri: AT URI of its schema.
        shards: Every shard; those that are blobs of this account with their size.
        endpoint: Server of ``s3://`` URLs.
        region: Its region.
        description: What the data are.
        tags: At most 30.
        license: SPDX identifier.
        metadata: Whatever else; packed with msgpack.
        created_at: As records have it.
        sources: The datasets that it was made of.
        manifest: Where what is known of each shard is, under the name that storages have for it.
        collection: The family of the record; the newer one has no manifests.
    """
    storage_of = _storage if collection == DATASET_COLLECTION else newer_storage
    record: dict[str, Any] = {
        "$type": collection,
        "name": check_name(name),
        "schemaRef": schema_uri,
        "storage": storage_of(did, shards, endpoint, region),
        "description": description or None,
        "tags": list(tags) if tags else None,
        "license": license or None,
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
            # A name of its own: who does not know of manifests must not read a part for all.
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
    known: dict[str, int] = {"shards": len(shards)}
    for key in ("samples", "bytes"):
        numbers = [getattr(shard, key) for shard in shards]
        if None not in numbers:
            known[key] = sum(numbers)
    return known


def check_details(
    *,
    description: str | None,
    tags: Iterable[str] | None,
    license: str | None,
    metadata: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """What is said of a dataset beside its data, checked; None is what was not said.

    Raises:
        OptionError: A description, tag or licence that is not one.
        EncodeError: Metadata that cannot be stored; the message has the path.
        RecordError: Metadata that are too large.
    """
    details = Details.checked(
        description=description, tags=tags, license=license, metadata=metadata
    )
    if details.metadata is not None:
        pack_metadata(details.metadata)
    return {
        "description": details.description,
        "tags": details.tags,
        "license": details.license,
        "metadata": details.metadata,
    }
