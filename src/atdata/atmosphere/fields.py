"""Values of a record, checked; each error starts with the path of the value."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from atdata._digest import RAW, blob_cid, cid_sha256
from atdata._limits import limits
from atdata._refs import BlobRef
from atdata._shardlist import ShardInfo, expand_braces
from atdata.errors import RecordError, RefError, UrlError


def blob_shard(did: str, value: object, path: str) -> ShardInfo:
    """The shard that a blob reference names."""
    blob = mapping(value, path)
    link = mapping(blob.get("ref"), f"{path}.ref").get("$link")
    try:
        sha256 = cid_sha256(str(link), codec=RAW)
    except RefError as error:
        raise RecordError(f"{path}.ref: {error}") from None
    size, mime = count(blob, "size", path), text(blob, "mimeType", path)
    return ShardInfo(str(BlobRef(did, blob_cid(sha256))), None, size, sha256, mime)


def split_name(row: Mapping[str, Any], path: str) -> str | None:
    """The split that a record says of a shard, or None.

    Raises:
        RecordError: It is empty, long, or has control characters.
    """
    split = text(row, "split", path)
    if split is not None and not (0 < len(split) <= 64 and split.isprintable()):
        raise RecordError(f"{path}.split: expected 1 to 64 characters, found {shown(split)}.")
    return split


def urls_of(value: object, path: str) -> list[str]:
    """A list of URLs, braces written out."""
    urls: list[str] = []
    seen = 0
    for i, url in enumerate(strings(value, path, limits.shards)):
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
    if value is not None and (type(value) is not int or not 0 <= value < 2**53):
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
