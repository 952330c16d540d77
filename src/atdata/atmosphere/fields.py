"""Checked values that several records share: blobs as shards, splits, URLs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from atdata._digest import RAW, cid_sha256
from atdata._json_checks import in_record, shown
from atdata._limits import limits
from atdata._refs import BlobRef, parse_blob_ref
from atdata._shardlist import ShardInfo, expand_braces
from atdata.errors import RecordError, RefError, UrlError

SHARD_TYPE: Final = "application/x-tar"
"""MIME type with which shards are sent as blobs; servers may see another in their first bytes."""


def blob_shard(did: str, value: object, path: str) -> ShardInfo:
    """The shard that a blob reference names."""
    blob = in_record.mapping(value, path)
    link = in_record.mapping(blob.get("ref"), f"{path}.ref").get("$link")
    try:
        sha256 = cid_sha256(str(link), codec=RAW)
    except RefError as error:
        raise RecordError(f"{path}.ref: {error}") from None
    size, mime = in_record.count(blob, "size", path), in_record.string(blob, "mimeType", path)
    return ShardInfo(str(BlobRef.of(did, sha256)), None, size, sha256, mime)


def blob_reference(cid: str, mime: str, size: int) -> dict[str, Any]:
    """How records refer to a blob."""
    return {"$type": "blob", "ref": {"$link": cid}, "mimeType": mime, "size": size}


def is_own(did: str, shard: ShardInfo) -> bool:
    """Whether a shard is a blob of this account."""
    return shard.url.startswith(f"at://{did}/blob/")


def own_blobs(did: str, shards: Sequence[ShardInfo]) -> list[dict[str, Any]]:
    """References to those shards that are blobs of this account."""
    return [
        blob_reference(parse_blob_ref(shard.url).cid, shard.mime or SHARD_TYPE, shard.bytes)
        for shard in shards
        if is_own(did, shard) and shard.bytes is not None
    ]


def split_name(row: Mapping[str, Any], path: str) -> str | None:
    """The split that a record names for a shard, or None.

    Raises:
        RecordError: It is empty, long, or has control characters.
    """
    split = in_record.string(row, "split", path)
    if split is not None and not (0 < len(split) <= 64 and split.isprintable()):
        raise RecordError(f"{path}.split: expected 1 to 64 characters, found {shown(split)}.")
    return split


def urls_of(value: object, path: str) -> list[str]:
    """A list of URLs, braces written out."""
    urls: list[str] = []
    seen = 0
    for i, url in enumerate(in_record.strings(value, path, limits.shards)):
        before = len(urls)
        try:
            bounds = {"most": limits.shards, "characters": limits.url_characters - seen}
            urls += expand_braces(url, **bounds)
        except UrlError as error:
            raise RecordError(f"{path}[{i}]: {error}") from None
        if len(urls) > limits.shards:
            raise RecordError(f"{path}: more than {limits.shards:,} shards.")
        seen += sum(map(len, urls[before:]))
    return urls
