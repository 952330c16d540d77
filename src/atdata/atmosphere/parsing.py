"""Untrusted records → entries; every error names the path."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from atdata._digest import RAW, cid_sha256
from atdata._json_checks import in_record, shown
from atdata._refs import ALT_DATASET_COLLECTION, DATASET_COLLECTION, AtUri, known_name
from atdata._shardlist import LocatedUrl, ShardInfo, layout_named
from atdata.atmosphere.alt_family import alt_shards
from atdata.atmosphere.entry import AtmosphereIndexEntry, StrongRef
from atdata.atmosphere.fields import blob_shard, split_name, urls_of
from atdata.atmosphere.key_ranges import foreign_records, records_in
from atdata.atmosphere.metadata import unpack_metadata
from atdata.atmosphere.record_keys import dataset_range
from atdata.atmosphere.records import BLOBS, EXTERNAL, LARGE
from atdata.atproto.lexicon import validate
from atdata.atproto.reader import Reader, Record
from atdata.errors import DatasetNameError, RecordError, RefError


def read_entry(record: Record) -> AtmosphereIndexEntry:
    """The dataset that a record describes. The record may be anyone's.

    Raises:
        RecordError: It is not a dataset's; says at which path.
    """
    try:
        return _read(record.uri, record.cid, record.value)
    except RecordError as error:
        raise RecordError(f"{record.uri} is not the record of a dataset. {error}") from None


def list_entries(reader: Reader, did: str) -> Iterator[AtmosphereIndexEntry]:
    """Every dataset record of an account, of both families; malformed ones are skipped."""
    for collection in (DATASET_COLLECTION, ALT_DATASET_COLLECTION):
        for record in reader.list_records(did, collection):
            with suppress(RecordError):
                yield read_entry(record)


def entries_of(reader: Reader, did: str, name: str) -> list[AtmosphereIndexEntry]:
    """The dataset records of one name, in no order; malformed ones are skipped.

    Those with our keys; where there are none, those of other tools. The cost does not grow with
    the number of our other records.
    """
    start = dataset_range(name)
    for find in (
        lambda collection: records_in(reader, did, collection, start),
        lambda collection: foreign_records(reader, did, collection),
    ):
        found = []
        for collection in (DATASET_COLLECTION, ALT_DATASET_COLLECTION):
            for record in find(collection):
                try:
                    entry = read_entry(record)
                except RecordError:
                    continue
                if entry.name == name:
                    found.append(entry)
        if found:
            return found
    return []


def _read(uri: AtUri, cid: str, value: Mapping[str, Any]) -> AtmosphereIndexEntry:
    kind = value.get("$type")
    if kind not in (DATASET_COLLECTION, ALT_DATASET_COLLECTION):
        raise RecordError(f"$.$type: expected {DATASET_COLLECTION!r}, found {shown(kind)}.")
    validate(value)
    try:
        name = known_name(value.get("name"))  # type: ignore[arg-type]
    except DatasetNameError as error:
        raise RecordError(f"$.name: {error}") from None
    schema_ref = value.get("schemaRef")
    if not isinstance(schema_ref, str) or not schema_ref.startswith("at://"):
        raise RecordError(f"$.schemaRef: expected an AT URI, found {shown(schema_ref)}.")
    storage = in_record.mapping(value.get("storage"), "$.storage")
    created = in_record.time(value.get("createdAt"), "$.createdAt")
    updated = value.get("updatedAt")
    metadata = value.get("metadata")
    endpoint = in_record.string(storage, "endpoint", "$.storage")
    region = in_record.string(storage, "region", "$.storage")
    shards = (_shards if kind == DATASET_COLLECTION else alt_shards)(uri.authority, storage)
    return AtmosphereIndexEntry(
        name=name,
        schema_ref=schema_ref,
        shards=tuple(shard.at(_gated(shard.url, endpoint, region)) for shard in shards),
        uri=str(uri),
        cid=cid,
        created_at=created,
        updated_at=created if updated is None else in_record.time(updated, "$.updatedAt"),
        metadata=None if metadata is None else unpack_metadata(metadata, "$.metadata"),
        description=in_record.string(value, "description", "$"),
        tags=tuple(in_record.strings(value.get("tags", []), "$.tags", 1000)),
        license=in_record.string(value, "license", "$"),
        endpoint=endpoint,
        region=region,
        sources=_sources(value.get("sources", []), "$.sources"),
        manifest=_manifest(uri.authority, storage),
    )


def _manifest(did: str, storage: Mapping[str, Any]) -> ShardInfo | None:
    if storage.get("manifest") is not None:
        return blob_shard(did, storage["manifest"], "$.storage.manifest")
    if storage.get("manifestObject") is None:
        return None
    at = "$.storage.manifestObject"
    reference = in_record.mapping(storage["manifestObject"], at)
    try:
        sha256 = cid_sha256(in_record.string(reference, "cid", at) or "", codec=RAW)
    except RefError as error:
        raise RecordError(f"{at}.cid: {error}") from None
    place = in_record.string(reference, "endpoint", at), in_record.string(reference, "region", at)
    return ShardInfo(
        _gated(in_record.string(reference, "url", at) or "", *place),
        None,
        in_record.count(reference, "size", at),
        sha256,
    )


def _sources(value: object, path: str) -> tuple[StrongRef, ...]:
    found = []
    for at, row in in_record.objects(value, path):
        uri, cid = in_record.string(row, "uri", at), in_record.string(row, "cid", at)
        if not uri or not cid or not uri.startswith("at://"):
            raise RecordError(f"{at}: expected the AT URI and the CID of a record.")
        found.append(StrongRef(uri, cid))
    return tuple(found)


def _gated(url: str, endpoint: str | None, region: str | None) -> LocatedUrl:
    return LocatedUrl(url, endpoint=endpoint, region=region, stranger=True)


def _shards(did: str, storage: Mapping[str, Any]) -> tuple[ShardInfo, ...]:
    kind = storage.get("$type")
    if kind == EXTERNAL:
        shards = [ShardInfo(url) for url in urls_of(storage.get("urls"), "$.storage.urls")]
    elif kind == BLOBS:
        blobs = in_record.sequence(storage.get("blobs"), "$.storage.blobs")
        shards = [blob_shard(did, blob, f"$.storage.blobs[{i}]") for i, blob in enumerate(blobs)]
    elif any(kind == large and storage.get(name) is not None for name, large in LARGE.items()):
        return ()  # the manifest names them
    else:
        raise RecordError(
            f"$.storage.$type: expected {EXTERNAL!r} or {BLOBS!r}, found {shown(kind)}."
        )
    known = _details(storage.get("shards", []), "$.storage.shards")
    return tuple(_joined(shard, known.get(shard.url)) for shard in shards)


def _joined(shard: ShardInfo, detail: ShardInfo | None) -> ShardInfo:
    if detail is None:
        return shard
    # Of a blob, its reference says size and hash, and the server vouches for it.
    return ShardInfo(
        shard.url,
        detail.samples,
        detail.bytes if shard.bytes is None else shard.bytes,
        shard.sha256 or detail.sha256,
        shard.mime,
        detail.split,
        detail.layout,
    )


def _details(value: object, path: str) -> dict[str, ShardInfo]:
    found: dict[str, ShardInfo] = {}
    for at, row in in_record.objects(value, path):
        url, sha256 = in_record.string(row, "url", at), in_record.string(row, "sha256", at)
        if url is None:
            raise RecordError(f"{at}.url: expected a str, found nothing.")
        if sha256 is not None and not re.fullmatch(r"[0-9a-f]{64}", sha256):
            raise RecordError(f"{at}.sha256: expected 64 hex digits, found {shown(sha256)}.")
        samples, size = in_record.count(row, "samples", at), in_record.count(row, "bytes", at)
        split, layout = split_name(row, at), layout_named(in_record.string(row, "layout", at))
        found[url] = ShardInfo(url, samples, size, sha256, split=split, layout=layout)
    return found
