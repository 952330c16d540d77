"""How a dataset's shards come to be where an index can name them: left in place, or in a store."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgpack
import numpy as np

from atdata._protocols import AbstractDataStore
from atdata._secrets import redacted_repr
from atdata._shardlist import LocatedUrl, ShardInfo, shards_of
from atdata._version import __version__
from atdata.capabilities import address_of
from atdata.dataset.dataset import Dataset
from atdata.dataset.named_splits import keep_splits, splits_of, with_splits
from atdata.errors import (
    IntegrityError,
    NoDataUrlsError,
    SampleTypeError,
    ShardExistsError,
    ShardNotFoundError,
    UrlError,
)
from atdata.sources.capabilities import local_path
from atdata.stores.prefixes import OwnPrefix

_MAX_SLUG: Final = 64


@redacted_repr
@dataclass(frozen=True)
class Placed:
    """Where the shards of a dataset are."""

    shards: tuple[ShardInfo, ...] = ()
    endpoint: str | None = None
    """Server of ``s3://`` URLs."""
    region: str | None = None
    root: str | None = None
    """What the URLs begin with before the prefix, where a store wrote the shards."""
    stranger: bool = False
    """Whether the URLs came from the network."""


def check_insertable(ds: object) -> None:
    """Refuse what is not a dataset, or has no shards, or whose local files are not as they were.

    Raises:
        SampleTypeError: Something else than a dataset.
        NoDataUrlsError: It names no shard.
        ShardNotFoundError: A file is not there.
        IntegrityError: One was written anew since the dataset was made.
    """
    if not isinstance(ds, Dataset):
        raise SampleTypeError(
            f"Expected a Dataset, found {type(ds).__name__}. Make one with "
            "atdata.Dataset[SampleType](url)."
        )
    if not ds.shard_list:
        raise NoDataUrlsError("The dataset names no shard. Nothing was written.")
    for shard in ds.known_shards():
        path = local_path(ds.source, shard.url)
        if path is None:
            continue
        if not path.is_file():
            raise ShardNotFoundError(f"{path}: there is no such file. Nothing was written.")
        if shard.bytes is not None and not has_size(path, shard.bytes):
            raise IntegrityError(
                f"expected {shard.bytes:,} bytes, as when the dataset was made; the file has "
                "changed since. Open it anew with atdata.Dataset[SampleType](path). Nothing was "
                "written.",
                shard=str(path),
            )


def has_size(path: Path, size: int | None) -> bool:
    """Whether a file is there and has so many bytes."""
    try:
        return path.stat().st_size == size
    except OSError:
        return False


def write_to_store(
    store: AbstractDataStore,
    ds: Dataset[Any],
    *,
    name: str,
    schema_ref: str,
    prefix: str | None,
    maxcount: int | None,
    maxsize: int | None,
) -> Placed:
    """Write every sample to the store.

    Without a prefix, shards go to a folder of the name and the content (``mnist/4f2c…``): the
    same content is written to the same place again, byte for byte, so that trying again leaves
    nothing behind, and other content never is. With a prefix where another dataset is, they go
    to a folder of the content below it.

    Raises:
        StoreError: The store failed.
        NoDataUrlsError: It wrote nothing.
    """
    sizes = {"maxcount": maxcount, "maxsize": maxsize}
    limits = {key: value for key, value in sizes.items() if value is not None}
    if prefix is None:
        slug = re.sub(r"[^a-z0-9]+", "-", name.lower())[:_MAX_SLUG].strip("-") or "dataset"
        place = _place_of_content(slug, schema_ref, ds, limits)
        urls = store.write_shards(ds, prefix=place, **limits)
    else:
        place = prefix
        try:
            urls = store.write_shards(ds, prefix=place, **limits)
        except ShardExistsError:
            place = _place_of_content(prefix.strip("/"), schema_ref, ds, limits)
            urls = store.write_shards(ds, prefix=place, **limits)
    shards = keep_splits(shards_of(urls), ds.known_shards())
    if not shards:
        raise NoDataUrlsError(f"The store wrote no shard for {name!r}. No entry was written.")
    endpoint, region = address_of(store)
    before, found, _ = shards[0].url.partition(f"/{place.strip('/')}/")
    return Placed(shards, endpoint, region, root=f"{before}/" if found else None)


def _place_of_content(
    folder: str, schema_ref: str, ds: Dataset[Any], limits: Mapping[str, int]
) -> str:
    """A folder named after the bytes of the shards; by chance where they are not known before."""
    known = ds.describe_shards() if ds.is_plain else ()
    hashes = [shard.sha256 for shard in known if shard.sha256]
    if not known or len(hashes) < len(known):
        return OwnPrefix(f"{folder}/{secrets.token_hex(8)}".lstrip("/"))
    # What decides over the bytes beside the samples.
    writers = [f"atdata {__version__}", f"numpy {np.__version__}", f"msgpack {msgpack.version}"]
    splits = splits_of(known)
    writers += [repr(splits)] if any(splits) else []
    parts = "\n".join([schema_ref, repr(sorted(limits.items())), *writers, *hashes])
    return f"{folder}/{hashlib.sha256(parts.encode()).hexdigest()[:16]}".lstrip("/")


def leave_in_place(ds: Dataset[Any]) -> Placed:
    """The shards where they are; local files are read for what is not known of them.

    Raises:
        UrlError: A shard has no URL, or one with a password; or they are on several S3 servers.
        ShardError: A local file is damaged.
    """
    for shard in ds.shard_list:
        if "://" not in shard and local_path(ds.source, shard) is None:
            raise UrlError(
                f"The shard {shard!r} of {type(ds.source).__name__} has no URL that others could "
                "open. Insert the dataset with a data store, which copies the samples."
            )
        user, at, host = shard.partition("://")[2].partition("/")[0].rpartition("@")
        if at and ":" in user:
            raise UrlError(
                f"The URL of a shard at {host} has a password, which must not be recorded. Leave "
                "it out, or insert the dataset with a data store, which copies the samples."
            )
    endpoint, region = s3_address(ds)
    shards = tuple(
        shard.at(str(shard.url) if "://" in shard.url else os.path.abspath(shard.url))  # noqa: PTH100
        for shard in with_splits(ds.describe_shards())
    )
    stranger = any(isinstance(url, LocatedUrl) and url.stranger for url in ds.shard_list)
    return Placed(shards, endpoint, region, stranger=stranger)


def s3_address(ds: Dataset[Any]) -> tuple[str | None, str | None]:
    """Endpoint and region of the shards in S3, as their URLs or this process know them.

    Raises:
        UrlError: They are on several servers, and an entry names one.
    """
    found: set[tuple[str, tuple[str | None, str | None]]] = set()
    for url in ds.shard_list:
        if url.startswith("s3://"):
            said = (url.endpoint, url.region) if isinstance(url, LocatedUrl) else (None, None)
            found.add((url.removeprefix("s3://").partition("/")[0], said))
    if not found:
        return None, None
    from atdata.sources.s3_access import access_for

    accesses = [
        access_for(bucket, endpoint=endpoint, region=region)[0]
        for bucket, (endpoint, region) in found
    ]
    places = {(access.endpoint, access.region) for access in accesses}
    if len(places) > 1:
        raise UrlError(
            "The shards are on several S3 servers, and an entry names one. Insert the dataset "
            "with a data store, which copies the samples, or as several datasets."
        )
    return next(iter(places))
