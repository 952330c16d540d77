"""Records of the network, perhaps a stranger's, → entries; every error says at which path."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from atdata._digest import RAW, blob_cid, cid_sha256
from atdata._refs import DATASET_COLLECTION, AtUri, BlobRef, check_name
from atdata._shardlist import ShardInfo, expand_braces
from atdata.atmosphere.data_model import unpack_metadata
from atdata.atmosphere.entry import AtmosphereIndexEntry
from atdata.atmosphere.reader import Record
from atdata.atmosphere.records import BLOBS, EXTERNAL
from atdata.errors import DatasetNameError, RecordError, RefError, UrlError

MAX_SHARDS: Final = 100_000
"""Most shards of a dataset that is read from the network."""


def read_entry(record: Record) -> AtmosphereIndexEntry:
    """The dataset that a record describes, which may be a stranger's.

    Raises:
        RecordError: It is not a dataset's; says at which path.
    """
    try:
        return _read(record.uri, record.cid, record.value)
    except RecordError as error:
        raise RecordError(f"{record.uri} is not the record of a dataset. {error}") from None


def _read(uri: AtUri, cid: str, value: Mapping[str, Any]) -> AtmosphereIndexEntry:
    if value.get("$type") != DATASET_COLLECTION:
        raise RecordError(
            f"$.$type: expected {DATASET_COLLECTION!r}, found {shown(value.get('$type'))}."
        )
    try:
        name = check_name(value.get("name"))  # type: ignore[arg-type]
    except DatasetNameError as error:
        raise RecordError(f"$.name: {error}") from None
    schema_ref = value.get("schemaRef")
    if not isinstance(schema_ref, str) or not schema_ref.startswith("at://"):
        raise RecordError(f"$.schemaRef: expected an AT URI, found {shown(schema_ref)}.")
    storage = mapping(value.get("storage"), "$.storage")
    created = time(value.get("createdAt"), "$.createdAt")
    updated = value.get("updatedAt")
    metadata = value.get("metadata")
    return AtmosphereIndexEntry(
        name=name,
        schema_ref=schema_ref,
        shards=_shards(uri.authority, storage),
        uri=str(uri),
        cid=cid,
        created_at=created,
        updated_at=created if updated is None else time(updated, "$.updatedAt"),
        metadata=None if metadata is None else unpack_metadata(metadata, "$.metadata"),
        description=text(value, "description", "$"),
        tags=tuple(strings(value.get("tags", []), "$.tags", 1000)),
        license=text(value, "license", "$"),
        endpoint=text(storage, "endpoint", "$.storage"),
        region=text(storage, "region", "$.storage"),
    )


def _shards(did: str, storage: Mapping[str, Any]) -> tuple[ShardInfo, ...]:
    kind = storage.get("$type")
    if kind == EXTERNAL:
        shards = [ShardInfo(url) for url in urls_of(storage.get("urls"), "$.storage.urls")]
    elif kind == BLOBS:
        blobs = sequence(storage.get("blobs"), "$.storage.blobs")
        shards = [blob_shard(did, blob, f"$.storage.blobs[{i}]") for i, blob in enumerate(blobs)]
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
    )


def _details(value: object, path: str) -> dict[str, ShardInfo]:
    found: dict[str, ShardInfo] = {}
    for i, item in enumerate(sequence(value, path)):
        at = f"{path}[{i}]"
        row = mapping(item, at)
        url, sha256 = text(row, "url", at), text(row, "sha256", at)
        if url is None:
            raise RecordError(f"{at}.url: expected a str, found nothing.")
        if sha256 is not None and not re.fullmatch(r"[0-9a-f]{64}", sha256):
            raise RecordError(f"{at}.sha256: expected 64 hex digits, found {shown(sha256)}.")
        samples, size = count(row, "samples", at), count(row, "bytes", at)
        found[url] = ShardInfo(url, samples, size, sha256)
    return found


def blob_shard(did: str, value: object, path: str) -> ShardInfo:
    """The shard that a blob reference names."""
    blob = mapping(value, path)
    link = mapping(blob.get("ref"), f"{path}.ref").get("$link")
    try:
        sha256 = cid_sha256(str(link), codec=RAW)
    except RefError as error:
        raise RecordError(f"{path}.ref: {error}") from None
    return ShardInfo(str(BlobRef(did, blob_cid(sha256))), None, count(blob, "size", path), sha256)


def urls_of(value: object, path: str) -> list[str]:
    """A list of URLs, braces written out."""
    urls: list[str] = []
    for i, url in enumerate(strings(value, path, MAX_SHARDS)):
        try:
            urls += expand_braces(url)
        except UrlError as error:
            raise RecordError(f"{path}[{i}]: {error}") from None
        if len(urls) > MAX_SHARDS:
            raise RecordError(f"{path}: more than {MAX_SHARDS:,} shards.")
    return urls


def strings(value: object, path: str, most: int) -> list[str]:
    """A list of at most so many str."""
    items = sequence(value, path)
    if len(items) > most:
        raise RecordError(f"{path}: {len(items):,} items; at most {most:,} are allowed.")
    for i, item in enumerate(items):
        if not isinstance(item, str):
            raise RecordError(f"{path}[{i}]: expected a str, found {shown(item)}.")
    return items


def text(record: Mapping[str, Any], key: str, path: str) -> str | None:
    """An optional str."""
    value = record.get(key)
    if value is not None and not isinstance(value, str):
        raise RecordError(f"{path}.{key}: expected a str, found {shown(value)}.")
    return value


def count(record: Mapping[str, Any], key: str, path: str) -> int | None:
    """An optional whole number that is not negative."""
    value = record.get(key)
    if value is not None and (type(value) is not int or value < 0):
        raise RecordError(f"{path}.{key}: expected a whole number, found {shown(value)}.")
    return value


def mapping(value: object, path: str) -> Mapping[str, Any]:
    """An object."""
    if not isinstance(value, Mapping):
        raise RecordError(f"{path}: expected an object, found {shown(value)}.")
    return value


def sequence(value: object, path: str) -> list[Any]:
    """A list."""
    if not isinstance(value, list):
        raise RecordError(f"{path}: expected a list, found {shown(value)}.")
    return value


def time(value: object, path: str) -> datetime:
    """A time, in UTC."""
    try:
        parsed = datetime.fromisoformat(value)  # type: ignore[arg-type]
        return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    except (TypeError, ValueError, OverflowError):
        raise RecordError(f"{path}: expected a time, found {shown(value)}.") from None


def shown(value: object) -> str:
    """What was found, for a message."""
    if isinstance(value, (str, int)):
        return f"{value!r:.60}"
    return "nothing" if value is None else type(value).__name__
