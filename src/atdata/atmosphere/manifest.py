"""Manifests: a file that lists shards too many for a record, pinned by its CID.

It is a blob of the account, or an object next to the shards: JSON with one list a property, each
with one item a shard: ``samples``, ``bytes`` and ``sha256``, null where it is not known, and
``urls`` in brace notation. Without ``urls`` the shards are blobs of the account, whose CIDs their
hashes are. Blobs last only as long as a record references them, so such a dataset has further
records that only reference its blobs.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import IO, Any, Final

from atdata._digest import blob_cid
from atdata._json_checks import in_record, shown
from atdata._limits import limits
from atdata._refs import SHARD_BLOBS_COLLECTION, AtUri, BlobRef, parse_at_uri
from atdata._secrets import redacted_repr
from atdata._shardlist import LocatedUrl, ShardInfo, fold_urls, layout_named
from atdata.atmosphere.blobs import known_blob, place_of
from atdata.atmosphere.entry import AtmosphereIndexEntry
from atdata.atmosphere.fields import blob_reference, split_name, urls_of
from atdata.atproto.client import AtmosphereClient
from atdata.atproto.reader import find_record
from atdata.capabilities import SupportsFiles, address_of
from atdata.errors import AtdataError, IntegrityError, RecordError
from atdata.net.documents import parse_json
from atdata.sources.blob import BlobReader
from atdata.sources.url import URLSource
from atdata.stores.journal import Journal
from atdata.system.forks import once

MANIFEST_TYPE: Final = "application/json"
_BLOBS_A_RECORD: Final = 500
"""Blobs that one record references; each takes about 150 of its 100,000 bytes."""


@redacted_repr
@dataclass(frozen=True)
class ObjectPlace:
    """Where a manifest goes as an object: a store, and a prefix in it."""

    store: SupportsFiles
    prefix: str
    always: bool
    """False: only a manifest that is larger than the blobs that the server takes."""

    @classmethod
    def next_to(cls, shards: Sequence[ShardInfo], store: object) -> ObjectPlace | None:
        """In the folder of the first shard, for what is too large; None: the store has no files."""
        if not isinstance(store, SupportsFiles):
            return None
        root = store.file_url("", prefix="")
        folder = str(shards[0].url).removeprefix(root).rpartition("/")[0]
        return cls(store, folder.strip("/"), always=False)


@redacted_repr
@dataclass(frozen=True)
class Manifest:
    """A manifest as it is sent."""

    data: bytes
    mime: str = MANIFEST_TYPE
    """The type under which the server keeps it."""
    object_place: ObjectPlace | None = None
    """Where it goes; None: it is a blob."""

    @once
    def sha256(self) -> str:
        """Of the bytes, in hex."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def cid(self) -> str:
        """Of the blob."""
        return blob_cid(self.sha256)

    def shard(self, did: str) -> ShardInfo:
        """The manifest as a blob of this account."""
        return ShardInfo(str(BlobRef(did, self.cid)), None, len(self.data), self.sha256, self.mime)

    @property
    def _name(self) -> str:
        return f"manifest-{self.sha256[:16]}.json"

    @property
    def reference(self) -> dict[str, Any]:
        """How a record's storage refers to it."""
        if self.object_place is None:
            return {"manifest": self.blob()}
        store = self.object_place.store
        endpoint, region = address_of(store)
        known = {
            "url": store.file_url(self._name, prefix=self.object_place.prefix),
            "cid": self.cid,
            "size": len(self.data),
            "endpoint": endpoint,
            "region": region,
        }
        return {"manifestObject": {key: value for key, value in known.items() if value is not None}}

    def blob(self) -> dict[str, Any]:
        """The reference to it as a blob."""
        return blob_reference(self.cid, self.mime, len(self.data))

    def typed(self, there: Mapping[str, Any]) -> Manifest:
        """The same, with the type that a record's storage has for it, if that names it."""
        blob = there.get("manifest") or {}
        same = blob.get("ref") == self.blob()["ref"]
        return replace(self, mime=blob["mimeType"]) if same else self

    @classmethod
    def of(cls, did: str, shards: Sequence[ShardInfo]) -> Manifest:
        """The same shards give the same bytes."""
        hashes = [shard.sha256 for shard in shards]
        columns: dict[str, Any] = {
            "samples": [shard.samples for shard in shards],
            "bytes": [shard.bytes for shard in shards],
            "sha256": hashes,
        }
        if any(shard.split for shard in shards):
            columns["splits"] = [shard.split for shard in shards]
        if any(shard.layout == "members" for shard in shards):
            columns["layouts"] = [shard.to_dict().get("layout") for shard in shards]
        own = [None if sha is None else str(BlobRef.of(did, sha)) for sha in hashes]
        if own != [shard.url for shard in shards]:
            columns["urls"] = [fold_urls([str(shard.url) for shard in shards])]
        return cls(json.dumps(columns, separators=(",", ":"), sort_keys=True).encode())

    def sent(self, client: AtmosphereClient) -> Manifest:
        """The same as the server has it; sent unless the server has it already.

        Raises:
            StoreError: The store for it fails.
        """
        if self.object_place is not None:
            self.object_place.store.write_file(
                self._name, self.data, prefix=self.object_place.prefix
            )
            return self
        found = known_blob(client, self.sha256)
        if found is None:
            found = self.shard(client.did)
            Journal().doubt(place_of(client), [found])
            stored = client.upload_blob(
                io.BytesIO(self.data),
                size=len(self.data),
                sha256=self.sha256,
                content_type=MANIFEST_TYPE,
            )
            found = replace(found, mime=stored.mime)
            Journal().add(place_of(client), found)
        return replace(self, mime=found.mime or MANIFEST_TYPE)


def holders(uri: AtUri, blobs: Sequence[Mapping[str, Any]], created: str) -> Iterator[Any]:
    """Key and value of the records that keep the blobs of a dataset."""
    for number, start in enumerate(range(0, len(blobs), _BLOBS_A_RECORD)):
        yield (
            f"{uri.rkey}.{number:04d}",
            {
                "$type": SHARD_BLOBS_COLLECTION,
                "dataset": str(uri),
                "blobs": list(blobs[start : start + _BLOBS_A_RECORD]),
                "createdAt": created,
            },
        )


def hold(client: AtmosphereClient, uri: AtUri, blobs: Sequence[Mapping[str, Any]], at: str) -> None:
    """Write the records that keep the blobs of a dataset, unless they exist.

    Raises:
        XrpcError: ``BlobNotFound`` where the server has lost one; ``InvalidSwap`` where another
            process is writing the same.
    """
    for rkey, record in holders(uri, blobs, at):
        here = AtUri(client.did, SHARD_BLOBS_COLLECTION, rkey)
        there = find_record(client, here)
        if there is None or there.value.get("blobs") != record["blobs"]:
            replaces = None if there is None else there.cid
            client.put_record(here.collection, rkey, record, replaces=replaces)


def followed(entry: AtmosphereIndexEntry) -> AtmosphereIndexEntry:
    """The entry with every shard, and what is known of it, that its manifest names.

    Raises:
        RecordError: The manifest is malformed; says at which path.
        IntegrityError: Its bytes are not those that the record pins.
        SourceError: It cannot be read.
        UnsafeUrlError: It is at an address that untrusted URLs must not lead to.
    """
    manifest = entry.manifest
    if manifest is None:
        return entry
    with closing(_open(manifest.url)) as stream:
        data = stream.read(limits.answer_bytes + 1)
    if len(data) > limits.answer_bytes:
        most = limits.answer_bytes
        raise RecordError(f"{manifest.url}: a manifest of more than {most:,} bytes.")
    if hashlib.sha256(data).hexdigest() != manifest.sha256:
        raise IntegrityError(
            "the manifest is not the one that the record pins: it was replaced after the dataset "
            "was published",
            shard=manifest.url,
        )
    try:
        shards = _read(parse_at_uri(entry.uri).authority, data)
    except RecordError as error:
        raise RecordError(f"{manifest.url} is not the manifest of a dataset. {error}") from None
    urls = [shard.url for shard in entry.shards]
    if urls and urls != [shard.url for shard in shards]:
        raise IntegrityError("the manifest names other shards than the record", shard=entry.uri)
    place = {"endpoint": entry.endpoint, "region": entry.region, "stranger": True}
    return replace(
        entry,
        shards=tuple(shard.at(LocatedUrl(shard.url, **place)) for shard in shards),  # type: ignore[arg-type]
    )


def as_far_as_known(entry: AtmosphereIndexEntry) -> AtmosphereIndexEntry:
    """The same as `followed`, or what the record itself says where its manifest cannot be had."""
    try:
        return followed(entry)
    except AtdataError:
        return entry


def _open(url: str) -> IO[bytes]:
    if url.startswith("at://"):
        return BlobReader().open(url, most=limits.answer_bytes)
    # A name with braces in it is one name.
    source = URLSource([url.at(fold_urls([url])) if isinstance(url, LocatedUrl) else url])
    return source.open_shard(source.shard_list[0])


def _read(did: str, data: bytes) -> list[ShardInfo]:
    try:
        columns = in_record.mapping(parse_json(data), "$")
    except RecordError:
        raise
    except ValueError:
        raise RecordError("$: expected JSON, found other bytes.") from None
    hashes = in_record.sequence(columns.get("sha256"), "$.sha256")
    if len(hashes) > limits.shards:
        raise RecordError(f"$.sha256: more than {limits.shards:,} shards.")
    if "urls" in columns:
        urls = urls_of(columns["urls"], "$.urls")
    else:
        urls = [str(BlobRef(did, _cid(sha, f"$.sha256[{n}]"))) for n, sha in enumerate(hashes)]
    samples, sizes = (_counts(columns.get(key), f"$.{key}") for key in ("samples", "bytes"))
    if not len(urls) == len(hashes) == len(samples) == len(sizes):
        raise RecordError("$: the lists do not have one item a shard.")
    for n, sha in enumerate(hashes):
        if sha is not None:
            _cid(sha, f"$.sha256[{n}]")
    splits = _splits(columns.get("splits"), len(urls))
    layouts = map(layout_named, _one_a_shard(columns.get("layouts"), "$.layouts", len(urls)))
    rows = zip(urls, samples, sizes, hashes, splits, layouts, strict=True)
    return [
        ShardInfo(url, n, size, sha, split=split, layout=layout)
        for url, n, size, sha, split, layout in rows
    ]


def _splits(value: object, number: int) -> list[str | None]:
    found = _one_a_shard(value, "$.splits", number)
    return [split_name({"split": item}, f"$.splits[{n}]") for n, item in enumerate(found)]


def _one_a_shard(value: object, path: str, number: int) -> Sequence[object]:
    if value is None:
        return [None] * number
    found = in_record.sequence(value, path)
    if len(found) != number:
        raise RecordError(f"{path}: does not have one item a shard.")
    return found


def _cid(sha256: object, path: str) -> str:
    try:
        if not isinstance(sha256, str) or len(sha256) != 64 or sha256 != sha256.lower():
            raise ValueError
        return blob_cid(sha256)
    except ValueError:
        raise RecordError(f"{path}: expected 64 hex digits, found {shown(sha256)}.") from None


def _counts(value: object, path: str) -> list[int | None]:
    found = in_record.sequence(value, path)
    for n, item in enumerate(found):
        if item is not None and (type(item) is not int or not 0 <= item < 2**53):
            raise RecordError(f"{path}[{n}]: expected a whole number, found {shown(item)}.")
    return found
