"""Storage in records of the newer family."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from atdata._json_checks import in_record, shown
from atdata._shardlist import ShardInfo, preview
from atdata.atmosphere.fields import blob_shard, own_blobs, split_name, urls_of
from atdata.errors import RecordError

_FAMILY: Final = "science.alt.dataset"
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


def alt_shards(did: str, storage: Mapping[str, Any]) -> tuple[ShardInfo, ...]:
    """Every shard that a storage of the newer family names; blobs are of this account.

    Raises:
        RecordError: It is malformed; says at which path.
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
        for at, row in in_record.objects(storage.get("blobs"), "$.storage.blobs"):
            # Older ones of the family have the reference itself here.
            blob = blob_shard(did, row.get("blob", row), at)
            found.append(replace(blob, split=split_name(row, at)))
        return tuple(found)
    raise RecordError(
        f"$.storage.$type: expected {_FAMILY}.storageHttp, storageS3 or storageBlobs, found "
        f"{shown(kind)}."
    )


def alt_storage(
    did: str, shards: Sequence[ShardInfo], endpoint: str | None, region: str | None
) -> dict[str, Any]:
    """Shards as a storage of the newer family.

    Raises:
        RecordError: They are of several kinds, of which a storage has one.
    """
    urls = [str(shard.url) for shard in shards]
    known = [_known(shard) for shard in shards]
    if all(url.startswith(("https://", "http://")) for url in urls):
        rows = [{"url": u, **c} for u, c in zip(urls, known, strict=True)]
        return {"$type": f"{_FAMILY}.storageHttp", "shards": rows}
    buckets = {url.removeprefix("s3://").partition("/")[0] for url in urls}
    if all(url.startswith("s3://") for url in urls) and len(buckets) == 1:
        keys = [url.removeprefix("s3://").partition("/")[2] for url in urls]
        rows = [{"key": k, **c} for k, c in zip(keys, known, strict=True)]
        place = {"endpoint": endpoint, "region": region}
        return {
            "$type": f"{_FAMILY}.storageS3",
            "bucket": buckets.pop(),
            **{key: value for key, value in place.items() if value},
            "shards": rows,
        }
    blobs = own_blobs(did, shards)
    if len(blobs) == len(shards):
        rows = [{"blob": b, **c} for b, c in zip(blobs, known, strict=True)]
        return {"$type": f"{_FAMILY}.storageBlobs", "blobs": rows}
    raise RecordError(
        "Records of the newer family name shards by http(s), of one bucket, or blobs of their "
        f"account; found {preview(urls)}. Pass data_store= to copy them to one place."
    )


def _known(shard: ShardInfo) -> dict[str, Any]:
    checksum = {"algorithm": "none", "digest": ""}
    if shard.sha256 is not None:
        checksum = {"algorithm": "sha256", "digest": shard.sha256}
    # Our addition: other readers ignore what they do not know.
    return {"checksum": checksum, **({"split": shard.split} if shard.split else {})}


def _each(
    storage: Mapping[str, Any], key: str, url_of: Callable[[Mapping[str, Any], str], str]
) -> tuple[ShardInfo, ...]:
    found = []
    for at, row in in_record.objects(storage.get(key), f"$.storage.{key}"):
        sha256, split = _sha256(row.get("checksum"), at), split_name(row, at)
        found.append(ShardInfo(url_of(row, at), sha256=sha256, split=split))
    return tuple(found)


def _required(row: Mapping[str, Any], key: str, path: str) -> str:
    value = in_record.string(row, key, path)
    if not value:
        raise RecordError(f"{path}.{key}: expected a str, found {shown(value)}.")
    return value


def _sha256(checksum: object, path: str) -> str | None:
    """The hash, if it is one that we can check: writers leave it empty, or use others."""
    if checksum is None:
        return None
    row = in_record.mapping(checksum, f"{path}.checksum")
    digest = in_record.string(row, "digest", f"{path}.checksum") or ""
    is_ours = row.get("algorithm") == "sha256" and _SHA256.fullmatch(digest)
    return digest if is_ours else None
