"""Finding a dataset of the network by AT URI, name or label."""

from __future__ import annotations

from contextlib import suppress
from itertools import islice
from typing import Final

from atdata._refs import (
    ALT_DATASET_COLLECTION,
    DATASET_COLLECTION,
    NameRef,
    account_of,
    known_name,
    parse_at_uri,
    parse_name_ref,
    reference,
)
from atdata.atmosphere.entry import AtmosphereIndexEntry, age
from atdata.atmosphere.labels import find_label, label_versions
from atdata.atmosphere.manifest import followed
from atdata.atmosphere.parsing import entries_of, list_entries, read_entry
from atdata.atmosphere.schemas import read_schema
from atdata.atproto.client import AtmosphereClient
from atdata.errors import AtmosphereError, DatasetNotFoundError, NotFoundError, RefError
from atdata.indexing.did_you_mean import did_you_mean, no_version, not_a_version

_MOST_COMPARED: Final = 1_000
"""Datasets of an account whose names are compared with one that does not exist."""


def find_dataset(client: AtmosphereClient, ref: str) -> AtmosphereIndexEntry:
    """The dataset that a reference means. Arguments and errors are those of
    `AtmosphereIndex.get_dataset`.
    """
    if not isinstance(ref, str):
        raise RefError(f"A dataset is named by a str, not by {type(ref).__name__}.")
    ref = reference(ref)
    if ref.startswith("at://"):
        return _at(client, ref)
    if not ref.startswith("@"):
        return find_newest(client, client.did, known_name(ref), ref)
    parsed = parse_name_ref(ref)
    if parsed.owner == "local":
        raise RefError(
            f"{ref!r} is a dataset of a local index, not of the network. "
            f"LocalIndex().get_dataset({ref!r}) finds it."
        )
    did = client.did_of(parsed.owner)
    if parsed.version is not None:
        if labelled := find_label(client, did, parsed.name, parsed.version):
            return labelled.check(_at(client, labelled.uri))
        named = entries_of(client, did, parsed.name)
        versions: list[str] = []
        for entry in sorted(named, key=age, reverse=True):
            versions.append(read_schema(client, entry.schema_ref).version)
            if versions[-1] == parsed.version:
                return followed(entry)
        # The version may be the end of a name.
        try:
            return find_newest(client, did, f"{parsed.name}@{parsed.version}", ref)
        except DatasetNotFoundError:
            raise _no_version(client, did, ref, parsed, versions) from None
    return find_newest(client, did, parsed.name, ref)


def uri_of_dataset(client: AtmosphereClient, ref: str) -> str:
    """The AT URI of the dataset that a name means, even if its shards cannot be read.

    Errors are those of `find_dataset`.
    """
    did, name = client.did, ref
    if ref.startswith("@"):
        parsed = parse_name_ref(ref)
        if parsed.owner == "local" or parsed.version is not None:
            return find_dataset(client, ref).uri
        did, name = client.did_of(parsed.owner), parsed.name
    found = entries_of(client, did, known_name(name))
    # Not its manifest: what cannot be read can still be unpublished.
    return max(found, key=age).uri if found else find_dataset(client, ref).uri


def find_newest(client: AtmosphereClient, did: str, name: str, ref: str) -> AtmosphereIndexEntry:
    """The newest dataset of a name, else what a label of the name leads to.

    The error for neither suggests similar names; ``ref`` is what the caller wrote.
    """
    found = entries_of(client, did, name)
    if not found and (labelled := find_label(client, did, name)):
        return labelled.check(_at(client, labelled.uri))
    if not found:
        raise _not_found(client, did, name, ref)
    return followed(max(found, key=age))


def _at(client: AtmosphereClient, ref: str) -> AtmosphereIndexEntry:
    uri = parse_at_uri(ref)
    if uri.collection not in (DATASET_COLLECTION, ALT_DATASET_COLLECTION):
        raise RefError(f"{ref!r} is not a dataset: its collection is not {DATASET_COLLECTION}.")
    try:
        record = client.get_record(uri)
    except NotFoundError as error:
        raise DatasetNotFoundError(f"There is no dataset {ref}.") from error
    return followed(read_entry(record))


def _not_found(client: AtmosphereClient, did: str, name: str, ref: str) -> DatasetNotFoundError:
    owner = account_of(ref.partition("/")[0]) if ref.startswith("@") else client.handle
    named: set[str] = set()
    with suppress(AtmosphereError):
        named.update(e.name for e in islice(list_entries(client, did), _MOST_COMPARED))
    hint = not_a_version(name, owner) + did_you_mean(name, named)
    return DatasetNotFoundError(
        f"{owner} has published no dataset {name!r}. {hint}index.list_datasets({owner!r}) "
        "shows all."
    )


def _no_version(
    client: AtmosphereClient, did: str, ref: str, parsed: NameRef, schemas: list[str]
) -> DatasetNotFoundError:
    labels = label_versions(client, did, parsed.name)
    if not labels and not schemas:
        return _not_found(client, did, parsed.name, ref)
    return no_version(ref, parsed, labels=labels, schemas=sorted(set(schemas)))
