"""How a dataset becomes an entry: what is recorded of it, and whether that is new."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from atdata._protocols import AbstractDataStore
from atdata._shardlist import ShardInfo
from atdata.dataset.dataset import Dataset
from atdata.dataset.describe import local_path
from atdata.errors import (
    IntegrityError,
    NoDataUrlsError,
    SampleTypeError,
    ShardNotFoundError,
    UrlError,
)
from atdata.local.backends.base import Backend
from atdata.local.details import Details
from atdata.local.entry import LocalDatasetEntry, content_cid, from_row, to_row

_MAX_SLUG: Final = 64


@dataclass(frozen=True)
class Draft:
    """An entry to be: not yet compared with what is there."""

    name: str
    schema_ref: str
    shards: tuple[ShardInfo, ...]
    details: Details
    endpoint: str | None
    region: str | None
    store_root: str | None = None
    """What the URLs begin with before the prefix, where a store wrote the shards."""

    def under(self, schema_ref: str) -> Draft:
        """The same with another schema."""
        return replace(self, schema_ref=schema_ref)


def check_dataset(ds: object) -> None:
    """Refuse what is not a dataset, or has no shards.

    Raises:
        SampleTypeError: Something else.
        NoDataUrlsError: It names no shard.
    """
    if not isinstance(ds, Dataset):
        raise SampleTypeError(
            f"Expected a Dataset, found {type(ds).__name__}. Make one with "
            "atdata.Dataset[SampleType](url)."
        )
    if not ds.shard_list:
        raise NoDataUrlsError("The dataset names no shard. Nothing was written.")


def check_files(ds: Dataset[Any]) -> None:
    """Look whether the shards that are local files are there, and as large as they should be.

    Raises:
        ShardNotFoundError: One is not there.
        IntegrityError: One was written anew since the dataset was made.
    """
    for shard in ds.known_shards():
        path = local_path(ds.source, shard.url)
        if path is None:
            continue
        if not path.is_file():
            raise ShardNotFoundError(f"{path}: there is no such file. Nothing was written.")
        if shard.bytes is not None and not _has_size(path, shard.bytes):
            raise IntegrityError(
                f"expected {shard.bytes:,} bytes, as when the dataset was made; the file has "
                "changed since. Open it anew with atdata.Dataset[SampleType](path). Nothing was "
                "written.",
                shard=str(path),
            )


def default_prefix(name: str, schema_ref: str, ds: Dataset[Any], given: Mapping[str, int]) -> str:
    """A folder of the name and the content: ``mnist/4f2c…``.

    The same content is written to the same place again, byte for byte, so that trying again
    leaves nothing behind; other content never is.
    """
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower())[:_MAX_SLUG].strip("-") or "dataset"
    known = ds.describe_shards() if ds.is_plain else ()
    hashes = [shard.sha256 for shard in known if shard.sha256]
    if not known or len(hashes) < len(known):
        return f"{slug}/{secrets.token_hex(8)}"
    # What decides over the bytes of the shards beside their samples.
    writers = [f"{package} {version(package)}" for package in ("atdata", "numpy", "msgpack")]
    parts = [schema_ref, repr(sorted(given.items())), *writers, *hashes]
    return f"{slug}/{hashlib.sha256(chr(10).join(parts).encode()).hexdigest()[:16]}"


def draft_of_store(
    name: str,
    schema_ref: str,
    shards: tuple[ShardInfo, ...],
    details: Details,
    store: AbstractDataStore,
    prefix: str,
) -> Draft:
    """An entry for shards that a store has written."""
    if not shards:
        raise NoDataUrlsError(f"The store wrote no shard for {name!r}. No entry was written.")
    before, found, _ = shards[0].url.partition(prefix.strip("/"))
    root = before if found and prefix.strip("/") else None
    # The protocol does not ask for these two: stores with an address have them.
    endpoint, region = getattr(store, "endpoint", None), getattr(store, "region", None)
    return Draft(name, schema_ref, shards, details, endpoint, region, root)


def draft_of_urls(name: str, schema_ref: str, ds: Dataset[Any], details: Details) -> Draft:
    """An entry for shards that stay where they are; local files are read for what is unknown.

    Raises:
        UrlError: The dataset's source has shards without a URL.
        ShardError: A local file is damaged.
    """
    for shard in ds.shard_list:
        if "://" not in shard and local_path(ds.source, shard) is None:
            raise UrlError(
                f"The shard {shard!r} of {type(ds.source).__name__} has no URL that others could "
                "open. Insert the dataset with a data store, which copies the samples."
            )
    shards = tuple(
        shard if "://" in shard.url else shard.at(os.path.abspath(shard.url))  # noqa: PTH100
        for shard in ds.describe_shards()
    )
    endpoint, region = _address(ds, shards)
    return Draft(name, schema_ref, shards, details, endpoint, region)


def _address(ds: Dataset[Any], shards: Sequence[ShardInfo]) -> tuple[str | None, str | None]:
    """Endpoint and region of shards in S3, where this process knows them."""
    url = next((shard.url for shard in shards if shard.url.startswith("s3://")), None)
    if url is None:
        return None, None
    from atdata.sources.s3_access import access_for

    access = access_for(url.removeprefix("s3://").partition("/")[0])
    return access.endpoint, access.region


def record(backend: Backend, draft: Draft) -> LocalDatasetEntry:
    """Add the draft as the next revision of its name, unless the newest says the same already.

    Returns:
        The entry that is there now.
    """
    cid = content_cid(draft.schema_ref, draft.shards)
    while True:
        row = backend.newest(draft.name)
        newest = None if row is None else from_row(row)
        details = draft.details
        if newest is not None and newest.cid == cid:
            # What is not said again stays.
            details = details.over(_details_of(newest))
        entry = LocalDatasetEntry(
            name=draft.name,
            schema_ref=draft.schema_ref,
            shards=draft.shards,
            metadata=details.metadata,
            description=details.description or None,
            tags=details.tags or (),
            license=details.license or None,
            endpoint=draft.endpoint,
            region=draft.region,
            revision=1 if newest is None else newest.revision + 1,
            cid=cid,
        )
        if newest is not None and _says_the_same(newest, entry) and _in_place(newest, draft):
            return newest
        # Another writer may have added this revision meanwhile: then compare with that.
        if backend.add_entry(to_row(entry)):
            return entry


def _details_of(entry: LocalDatasetEntry) -> Details:
    return Details(entry.description, entry.tags, entry.license, entry.metadata)


def _says_the_same(newest: LocalDatasetEntry, entry: LocalDatasetEntry) -> bool:
    # Compared as they are kept: NaN in metadata does not equal itself.
    same = replace(entry, created_at=newest.created_at, shards=newest.shards)
    same = replace(same, endpoint=newest.endpoint, region=newest.region, revision=newest.revision)
    return to_row(same) == to_row(newest)


def _in_place(newest: LocalDatasetEntry, draft: Draft) -> bool:
    """Whether the shards of the newest revision, same in content, are where they are wanted."""
    if (newest.endpoint, newest.region) != (draft.endpoint, draft.region):
        return False
    old = [shard.url for shard in newest.shards]
    if old == [shard.url for shard in draft.shards]:
        return True
    if draft.store_root is not None:
        return all(url.startswith(draft.store_root) for url in old)
    # Files that were copied or moved: the entry stands as long as it leads to its shards.
    return all("://" not in url for url in old) and all(
        _has_size(Path(shard.url), shard.bytes) for shard in newest.shards
    )


def _has_size(path: Path, size: int | None) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False
