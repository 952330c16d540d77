"""Where the shards of an inserted dataset are: in place, or in a store."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgpack
import numpy as np

from atdata._protocols import AbstractDataStore
from atdata._registry import SHARD_SCHEMES
from atdata._secrets import redacted_repr
from atdata._shardlist import Layout, LocatedUrl, ShardInfo, instead_of, scheme_of, shards_of, total
from atdata._version import __version__
from atdata.capabilities import SupportsCopy, SupportsRecordedType, address_of
from atdata.dataset.dataset import Dataset
from atdata.dataset.named_splits import keep_splits, splits_of, with_splits
from atdata.errors import (
    IntegrityError,
    NoDataUrlsError,
    OptionError,
    SampleTypeError,
    SchemaConflictError,
    ShardExistsError,
    ShardNotFoundError,
    StoreError,
    UrlError,
)
from atdata.indexing.lost_defaults import warn_of_lost_defaults
from atdata.samples.dict_sample import DictSample
from atdata.schema.evolve import compare
from atdata.schema.model import Schema
from atdata.schema.reflect import schema_of
from atdata.shards.tar.table import check_layout
from atdata.sources.capabilities import local_path
from atdata.stores.prefixes import OwnPrefix
from atdata.system.forks import importing

_MAX_SLUG_CHARACTERS: Final = 64
_REGISTER: Final = (
    f"Register a source for them, with an entry point in the group {SHARD_SCHEMES.group!r} (see "
    "docs/extending.md)."
)
_NOT_RECORDED: Final = "The dataset was not recorded or published."


@redacted_repr
@dataclass(frozen=True)
class PlacedShards:
    """The shards of a dataset, where an index can name them."""

    shards: tuple[ShardInfo, ...] = ()
    endpoint: str | None = None
    """Server of ``s3://`` URLs."""
    region: str | None = None
    root: str | None = None
    """What the URLs begin with before the prefix, where a store wrote the shards."""
    stranger: bool = False
    """Whether the URLs came from the network."""

    def with_shards(self, shards: Sequence[ShardInfo]) -> PlacedShards:
        """Other shards in the same place."""
        return replace(self, shards=tuple(shards))


@redacted_repr
@dataclass(frozen=True)
class Sharding:
    """How a caller wants a store to place and cut shards."""

    prefix: str | None = None
    """Path in the store; None: one of the name and the content."""
    maxcount: int | None = None
    """Most samples in a shard."""
    maxsize: int | None = None
    """Most bytes in a shard."""
    layout: Layout | None = None
    """How samples lie in it; None: as in the shards that they come from."""

    @property
    def options(self) -> dict[str, Any]:
        """What was given, as `AbstractDataStore.write_shards` takes it."""
        given = {"maxcount": self.maxcount, "maxsize": self.maxsize, "layout": self.layout}
        return {key: value for key, value in given.items() if value is not None}


def check_is_store(store: object, example: str) -> None:
    """Refuse what was passed as ``data_store`` and is no store, with an OptionError."""
    if store is not None and not isinstance(store, AbstractDataStore):
        raise OptionError(
            f"data_store: expected a store such as {example}, found {type(store).__name__}."
        )


def check_insertable(ds: object) -> None:
    """Refuse what is not a dataset, names no shard, or has local files that changed.

    Raises:
        SampleTypeError: Not a dataset.
        NoDataUrlsError: It names no shard.
        ShardNotFoundError: A file does not exist.
        IntegrityError: A file's size changed since the dataset was made.
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
            raise ShardNotFoundError(
                f"{path}: there is no such file.{instead_of(path)} Nothing was written."
            )
        if shard.bytes is not None and not has_size(path, shard.bytes):
            raise IntegrityError(
                f"expected {shard.bytes:,} bytes, as when the dataset was made; the file has "
                "changed since. Open it again with atdata.Dataset[SampleType](path). Nothing was "
                "written.",
                shard=str(path),
            )


def has_size(path: Path, size: int | None) -> bool:
    """Whether a file exists and has this size in bytes."""
    try:
        return path.stat().st_size == size
    except OSError:
        return False


def check_has_store(store: AbstractDataStore | None, sharding: Sharding, *, make: str) -> None:
    """Refuse limits and a layout of shards, with an OptionError, where no store writes any.

    The error says how an index with a store is made.
    """
    if sharding.layout is not None:
        check_layout(sharding.layout)
    if store is None and sharding.options:
        raise OptionError(
            "maxcount, maxsize and layout are for a data store; this index has none and records "
            f"the shards as they are. Make it with {make}."
        )


def check_as_stored(ds: Dataset[Any], name: str) -> None:
    """Refuse a dataset whose shards hold other samples than it gives.

    Raises:
        OptionError: It is filtered, mapped, seen through a lens, or the part of a rank.
    """
    if not ds.is_plain:
        raise OptionError(
            f"{name!r}: the dataset is filtered, mapped, seen through a lens, or a rank's part: "
            "its shards hold other samples than it gives. Insert it with a data store, which "
            "writes new shards, or insert the dataset that it was made from."
        )


def check_schema_fits(ds: Dataset[Any], schema: Schema, ref: str) -> None:
    """Refuse a schema that does not describe the samples of a dataset.

    Raises:
        SchemaConflictError: It has other fields; shows the difference.
    """
    if ds.sample_type is DictSample:
        return
    own = schema_of(ds.sample_type, version=schema.version)
    if diff := compare(schema, own):
        raise SchemaConflictError(
            f"{ref} does not describe the samples of this dataset, which are {own.name}:\n{diff}\n"
            "Leave schema_ref out to publish the schema of the samples. Nothing was written."
        )


def write_to_store(
    store: AbstractDataStore,
    ds: Dataset[Any],
    sharding: Sharding,
    *,
    name: str,
    schema_ref: str,
) -> PlacedShards:
    """Write every sample to the store; or copy the shards, if they have WebDataset's layout and
    nothing else is asked for.

    Without a prefix, shards go to a folder named after the dataset and its content
    (``mnist/4f2c…``). The same content goes to the same place, byte for byte, so trying again
    adds nothing; other content goes to another place. With a prefix that another dataset
    already uses, they go to a folder of the content below it.

    Raises:
        StoreError: The store failed, or says that it wrote what it cannot have.
        NoDataUrlsError: It wrote nothing.
        UrlError: Nothing reads the URLs that it gave the shards, which stay in the store.
    """
    options, prefix = sharding.options, sharding.prefix
    write = partial(_written_or_copied, store, ds, options)
    if prefix is None:
        slug = (
            re.sub(r"[^a-z0-9]+", "-", name.lower())[:_MAX_SLUG_CHARACTERS].strip("-") or "dataset"
        )
        place = _place_of_content(slug, schema_ref, ds, options)
        shards = write(place)
    else:
        place = prefix
        try:
            shards = write(place)
        except ShardExistsError:
            place = _place_of_content(prefix.strip("/"), schema_ref, ds, options)
            shards = write(place)
    unread = _unread_scheme([shard.url for shard in shards])
    if unread:
        raise UrlError(
            f"{type(store).__name__} wrote the shards of {name!r} to {unread}:// URLs, such as "
            f"{shards[0].url!r}, and nothing reads these. {_REGISTER} Or have the store return "
            "URLs that can be read, such as https. The shards are in the store; no entry was "
            "written."
        )
    endpoint, region = address_of(store)
    before, found, _ = shards[0].url.partition(f"/{place.strip('/')}/")
    return PlacedShards(shards, endpoint, region, root=f"{before}/" if found else None)


def _written_or_copied(
    store: AbstractDataStore, ds: Dataset[Any], options: Mapping[str, Any], place: str
) -> tuple[ShardInfo, ...]:
    known = ds.known_shards()
    if isinstance(store, SupportsCopy) and not options and ds.is_plain and ds.layout == "members":
        known = with_splits(ds.describe_shards())
        warn_of_lost_defaults(ds)
        urls = store.copy_shards(known, ds.source.open_shard, prefix=place)
        if isinstance(store, SupportsRecordedType):
            store.record_type(ds.sample_type, prefix=place)
        return keep_splits(copied_shards(store, urls, known), known, copies=True)
    urls = store.write_shards(ds, prefix=place, **options)
    return keep_splits(written_shards(store, urls, ds), known)


def written_shards(
    store: AbstractDataStore, urls: Sequence[str], ds: Dataset[Any]
) -> tuple[ShardInfo, ...]:
    """The shards that `AbstractDataStore.write_shards` returned, before anything records them.

    Raises:
        NoDataUrlsError: There are none.
        StoreError: Not URLs, one URL for several shards, or another number of samples in all.
    """
    shards = _placed(store, urls)
    if not shards:
        raise NoDataUrlsError(f"{type(store).__name__} wrote no shard. {_NOT_RECORDED}")
    _refuse_repeats(store, shards, [shard.sha256 for shard in shards])
    found = total(shard.samples for shard in shards)
    expected = total(shard.samples for shard in ds.known_shards()) if ds.is_plain else None
    if None not in (expected, found) and expected != found:
        raise StoreError(
            f"{type(store).__name__} wrote shards of {found:,} samples, of a dataset of "
            f"{expected:,}. {_NOT_RECORDED}"
        )
    return shards


def copied_shards(
    store: SupportsCopy, urls: Sequence[str], originals: Sequence[ShardInfo]
) -> tuple[ShardInfo, ...]:
    """The shards that `SupportsCopy.copy_shards` returned, before anything records them.

    Raises:
        StoreError: Not one URL for each original, in order; or another size, hash or number of
            samples than is known of it.
    """
    shards = _placed(store, urls)
    if len(shards) != len(originals):
        raise StoreError(
            f"{type(store).__name__} returned {len(shards):,} URLs for {len(originals):,} shards "
            f"to copy; expected one for each. {_NOT_RECORDED}"
        )
    for copy, original in zip(shards, originals, strict=True):
        for known in ("bytes", "sha256", "samples"):
            expected, found = getattr(original, known), getattr(copy, known)
            if None not in (expected, found) and expected != found:
                raise StoreError(
                    f"{copy.url}: {type(store).__name__} gives its copy of {original.url} "
                    f"{known}={found!r}; expected {expected!r}. {_NOT_RECORDED}"
                )
    contents = [
        copy.sha256 or original.sha256 or original.url
        for copy, original in zip(shards, originals, strict=True)
    ]
    _refuse_repeats(store, shards, contents)
    return shards


def _placed(store: object, urls: object) -> tuple[ShardInfo, ...]:
    """What a store returned as the URLs of its shards."""
    shards = shards_of(urls) if isinstance(urls, Iterable) and not isinstance(urls, str) else None
    if shards is None or not all(isinstance(shard.url, str) and shard.url for shard in shards):
        raise StoreError(
            f"{type(store).__name__} returned {urls!r:.80}; expected a list of the URLs of shards. "
            f"{_NOT_RECORDED}"
        )
    return shards


def _refuse_repeats(
    store: object, shards: Sequence[ShardInfo], contents: Sequence[str | None]
) -> None:
    """Refuse one URL for several shards, unless they are known to have the same content."""
    seen: dict[str, str | None] = {}
    for shard, content in zip(shards, contents, strict=True):
        if shard.url in seen and (content is None or seen[shard.url] != content):
            raise StoreError(
                f"{shard.url}: {type(store).__name__} returned this URL for several shards. "
                f"{_NOT_RECORDED}"
            )
        seen[shard.url] = content


def _place_of_content(
    folder: str, schema_ref: str, ds: Dataset[Any], options: Mapping[str, Any]
) -> str:
    """A folder named after the bytes of the shards, or at random where their hashes are unknown."""
    known = ds.describe_shards() if ds.is_plain else ()
    hashes = [shard.sha256 for shard in known if shard.sha256]
    if not known or len(hashes) < len(known):
        return OwnPrefix(f"{folder}/{secrets.token_hex(8)}".lstrip("/"))
    # What decides about the bytes, besides the samples.
    writers = [f"atdata {__version__}", f"numpy {np.__version__}", f"msgpack {msgpack.version}"]
    splits = splits_of(known)
    writers += [repr(splits)] if any(splits) else []
    parts = "\n".join([schema_ref, repr(sorted(options.items())), *writers, *hashes])
    return f"{folder}/{hashlib.sha256(parts.encode()).hexdigest()[:16]}".lstrip("/")


def leave_in_place(ds: Dataset[Any]) -> PlacedShards:
    """The shards where they are. Local files are read for hashes and counts that are not known.

    Raises:
        UrlError: A shard has no URL, or one with a password or of a scheme that nothing reads; or
            they are on several S3 servers.
        ShardError: A local file is damaged.
    """
    unread = _unread_scheme(ds.shard_list)
    if unread:
        raise UrlError(
            f"The shards have {unread}:// URLs, which only {type(ds.source).__name__} reads, and "
            f"nothing that opens an entry. {_REGISTER} Or insert the dataset with a data store, "
            "which copies the samples. Nothing was written."
        )
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
    warn_of_lost_defaults(ds)
    stranger = any(isinstance(url, LocatedUrl) and url.stranger for url in ds.shard_list)
    return PlacedShards(shards, endpoint, region, stranger=stranger)


def _unread_scheme(urls: Sequence[str]) -> str:
    """The first scheme that no source reads; "" if each has one."""
    schemes = dict.fromkeys(map(scheme_of, urls))
    return next((scheme for scheme in schemes if scheme not in SHARD_SCHEMES), "")


def s3_address(ds: Dataset[Any]) -> tuple[str | None, str | None]:
    """Endpoint and region of the shards in S3, from their URLs or from this process.

    Raises:
        UrlError: They are on several servers, and an entry names one.
    """
    found: set[tuple[str, tuple[str | None, str | None]]] = set()
    for url in ds.shard_list:
        if url.startswith("s3://"):
            place = (url.endpoint, url.region) if isinstance(url, LocatedUrl) else (None, None)
            found.add((url.removeprefix("s3://").partition("/")[0], place))
    if not found:
        return None, None
    with importing():
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
