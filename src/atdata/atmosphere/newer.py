"""The newer record family: where its ``entry`` says that shards are."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from atdata._shardlist import ShardInfo
from atdata.atmosphere.fields import blob_shard, mapping, sequence, shown, text, urls_of
from atdata.errors import RecordError

_FAMILY: Final = "science.alt.dataset"
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


def newer_shards(did: str, storage: Mapping[str, Any]) -> tuple[ShardInfo, ...]:
    """Every shard that a storage of the newer family names.

    Args:
        did: Account of the record: its blobs are meant.
        storage: The record's ``storage``.

    Raises:
        RecordError: It makes no sense; says at which path.
    """
    kind = storage.get("$type")
    if kind == f"{_FAMILY}.storageExternal":
        return tuple(ShardInfo(url) for url in urls_of(storage.get("urls"), "$.storage.urls"))
    if kind == f"{_FAMILY}.storageHttp":
        return _each(storage, "shards", lambda row, at: _required(row, "url", at))
    if kind == f"{_FAMILY}.storageS3":
        bucket = _required(storage, "bucket", "$.storage")
        return _each(
            storage, "shards", lambda row, at: f"s3://{bucket}/{_required(row, 'key', at)}"
        )
    if kind == f"{_FAMILY}.storageBlobs":
        found = []
        for i, item in enumerate(sequence(storage.get("blobs"), "$.storage.blobs")):
            at = f"$.storage.blobs[{i}]"
            # Older ones of the family have the reference itself here.
            row = mapping(item, at)
            found.append(blob_shard(did, row.get("blob", row), at))
        return tuple(found)
    raise RecordError(
        f"$.storage.$type: expected {_FAMILY}.storageHttp, storageS3 or storageBlobs, found "
        f"{shown(kind)}."
    )


def _each(
    storage: Mapping[str, Any], key: str, url_of: Callable[[Mapping[str, Any], str], str]
) -> tuple[ShardInfo, ...]:
    found = []
    for i, item in enumerate(sequence(storage.get(key), f"$.storage.{key}")):
        at = f"$.storage.{key}[{i}]"
        row = mapping(item, at)
        found.append(ShardInfo(url_of(row, at), sha256=_sha256(row.get("checksum"), at)))
    return tuple(found)


def _required(row: Mapping[str, Any], key: str, path: str) -> str:
    value = text(row, key, path)
    if not value:
        raise RecordError(f"{path}.{key}: expected a str, found {shown(value)}.")
    return value


def _sha256(checksum: object, path: str) -> str | None:
    """The hash, if it is one that we can check: writers leave it empty, or use others."""
    if checksum is None:
        return None
    row = mapping(checksum, f"{path}.checksum")
    digest = text(row, "digest", f"{path}.checksum") or ""
    is_ours = row.get("algorithm") == "sha256" and _SHA256.fullmatch(digest)
    return digest if is_ours else None
