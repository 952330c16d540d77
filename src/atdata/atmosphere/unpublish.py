"""Unpublishing: deleting a record and what goes with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from atdata._refs import (
    ALT_DATASET_COLLECTION,
    ALT_LABEL_COLLECTION,
    ALT_LENS_COLLECTION,
    ALT_SCHEMA_COLLECTION,
    DATASET_COLLECTION,
    LENS_COLLECTION,
    SCHEMA_COLLECTION,
    SHARD_BLOBS_COLLECTION,
    AtUri,
    parse_at_uri,
    parse_blob_ref,
)
from atdata._secrets import redacted_repr
from atdata._shardlist import preview
from atdata.atmosphere.blobs import place_of
from atdata.atmosphere.entry import AtmosphereIndexEntry
from atdata.atmosphere.fields import is_own
from atdata.atmosphere.key_ranges import records_in
from atdata.atmosphere.manifest import followed
from atdata.atmosphere.parsing import list_entries, read_entry
from atdata.atproto.client import AtmosphereClient
from atdata.errors import (
    AtdataError,
    DatasetNotFoundError,
    NotFoundError,
    RecordError,
    RefError,
    SchemaInUseError,
    SchemaNotFoundError,
)
from atdata.stores.journal import Journal

_DATASETS: Final = (DATASET_COLLECTION, ALT_DATASET_COLLECTION)
_SCHEMAS: Final = (SCHEMA_COLLECTION, ALT_SCHEMA_COLLECTION)
_USERS: Final = (*_DATASETS, *_SCHEMAS, LENS_COLLECTION, ALT_LENS_COLLECTION)
"""Collections whose records refer to schemas."""
_OTHERS: Final = (LENS_COLLECTION, ALT_LENS_COLLECTION, ALT_LABEL_COLLECTION)


@redacted_repr
@dataclass(frozen=True)
class Unpublished:
    """What was deleted."""

    uri: str
    blobs: tuple[str, ...] = ()
    """Blobs that no other dataset of the account has: the server deletes them with the record."""
    labels: tuple[str, ...] = ()
    """Labels that led to the dataset."""


def unpublish(client: AtmosphereClient, uri: str) -> Unpublished:
    """See `AtmosphereIndex.unpublish`. The records that keep a dataset's blobs are deleted too."""
    asked = parse_at_uri(uri)
    at = AtUri(client.did_of(asked.authority), asked.collection, asked.rkey)
    if at.authority != client.did:
        raise RefError(f"{uri} is not a record of {client.did}, who is logged in.")
    if at.collection in _DATASETS:
        return _dataset(client, at)
    if at.collection in _SCHEMAS:
        return _schema(client, at)
    if at.collection in _OTHERS:
        client.delete_record(at)
        return Unpublished(str(at))
    raise RefError(f"{uri} is not a dataset, schema, lens or label.")


def _dataset(client: AtmosphereClient, at: AtUri) -> Unpublished:
    holders = records_in(client, client.did, SHARD_BLOBS_COLLECTION, f"{at.rkey}.")
    try:
        record = client.get_record(at)
    except NotFoundError as error:
        if not holders:
            raise DatasetNotFoundError(f"There is no dataset {at}.") from error
        blobs: set[str] = set()
    else:
        try:
            entry = read_entry(record)
        except RecordError:
            blobs = set()  # malformed: it can be deleted all the same
        else:
            blobs = _blobs(client, entry) - _blobs_of_others(client, at)
    labels = [
        label.uri
        for label in client.list_records(client.did, ALT_LABEL_COLLECTION)
        if label.value.get("datasetUri") == str(at)
    ]
    # Labels first, blobs last: nobody must find a dataset without its blobs.
    for gone in (*labels, at, *(holder.uri for holder in holders)):
        client.delete_record(gone)
    hashes = [parse_blob_ref(blob).sha256 for blob in blobs]
    Journal().forget(place_of(client), hashes)
    return Unpublished(str(at), tuple(sorted(blobs)), tuple(map(str, labels)))


def _blobs(client: AtmosphereClient, entry: AtmosphereIndexEntry) -> set[str]:
    """URLs of the blobs of this account that a dataset has."""
    try:
        entry = followed(entry)
    except AtdataError:
        return set()  # without its manifest, its blobs are unknown
    files = [*entry.shards, *([entry.manifest] if entry.manifest else [])]
    return {str(file.url) for file in files if is_own(client.did, file)}


def _blobs_of_others(client: AtmosphereClient, at: AtUri) -> set[str]:
    others = (entry for entry in list_entries(client, client.did) if entry.uri != str(at))
    return {url for entry in others for url in _blobs(client, entry)}


def _schema(client: AtmosphereClient, at: AtUri) -> Unpublished:
    try:
        client.get_record(at)
    except NotFoundError as error:
        raise SchemaNotFoundError(f"There is no schema {at}.") from error
    users = [
        str(record.uri)
        for collection in _USERS
        for record in client.list_records(client.did, collection)
        if record.uri != at and str(at) in _texts(record.value)
    ]
    if users:
        raise SchemaInUseError(
            f"{at} is in use by {preview(users)}. Unpublish what uses it first. Nothing was "
            "deleted."
        )
    client.delete_record(at)
    return Unpublished(str(at))


def _texts(value: Any) -> Iterator[str]:
    """Every text in a record."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            stack += item.values()
        elif isinstance(item, list):
            stack += item
