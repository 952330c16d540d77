"""Promotion: a dataset of a local index becomes a dataset of the network.

The one module that knows both worlds. The order is always the same: check everything that can
be checked without writing, find or publish the schema, copy the data if asked, write the record
last. So a failure leaves no dataset record, and running it again goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from atdata._protocols import AbstractDataStore, AbstractIndex, IndexEntry
from atdata._refs import check_name
from atdata._shardlist import ShardInfo, expand_braces, shards_of
from atdata.atmosphere.client import AtmosphereClient
from atdata.atmosphere.publicity import check_public, check_store
from atdata.atmosphere.publish import publish_dataset
from atdata.atmosphere.records import check_details, content_of, default_prefix
from atdata.atmosphere.schemas import publish_schema
from atdata.dataset.dataset import Dataset
from atdata.errors import NoDataUrlsError
from atdata.schema.model import Schema
from atdata.schema.record import from_record


def promote_to_atmosphere(
    entry: IndexEntry,
    index: AbstractIndex,
    client: AtmosphereClient,
    *,
    name: str | None = None,
    description: str | None = None,
    tags: Sequence[str] | None = None,
    license: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    data_store: AbstractDataStore | None = None,
) -> str:
    """Publish a dataset of a local index on the AT Protocol network.

    Done again with nothing changed, it returns the same URI and writes nothing. Two processes
    at once make one schema and one record.

    Args:
        entry: What the local index says of the dataset.
        index: That index, which has its schema.
        client: Logged in to the account to publish under.
        name: Another name than the entry's.
        description: What the dataset is. This and the following win over what the entry has.
        tags: Words to find it by, at most 30.
        license: SPDX identifier, such as ``MIT`` or ``CC-BY-4.0``.
        metadata: Any msgpack map, at most 100,000 bytes packed.
        data_store: Copy the shards there, byte for byte, and publish their new URLs. None:
            the shards stay where they are, and have to stay readable there.

    Returns:
        The AT URI of the dataset's record.

    Raises:
        SchemaNotFoundError: The index has no schema of this entry's reference (a KeyError).
        NoDataUrlsError: The entry names no shard (a ValueError).
        PrivateUrlError: Without ``data_store``, a shard that only this machine can read.
        SchemaConflictError: The account has a schema of this name and version that differs.
        AuthenticationError: The client is not logged in.
        IntegrityError: A shard does not have the SHA-256 that the index recorded for it.
    """
    publication = _checked(
        entry,
        index,
        name=name,
        details=check_details(
            description=_first(description, getattr(entry, "description", None)),
            tags=_first(tags, getattr(entry, "tags", None)),
            license=_first(license, getattr(entry, "license", None)),
            metadata=_first(metadata, entry.metadata),
        ),
    )
    client.check_session()
    if data_store is None:
        urls = [shard.url for shard in publication.shards]
        check_public(urls, endpoint=publication.endpoint)
        return _publish(client, publication, publish_schema(client, publication.schema))
    _check_store(data_store, client)
    schema_uri = publish_schema(client, publication.schema)
    copy = partial(_copied, entry, index, publication, data_store)
    return _publish(client, copy(), schema_uri, content=publication.content, resend=copy)


@dataclass(frozen=True, slots=True)
class _Publication:
    """What is to be published, known before anything is written."""

    name: str
    schema: Schema
    shards: tuple[ShardInfo, ...]
    endpoint: str | None
    region: str | None
    details: dict[str, Any]

    @property
    def content(self) -> str:
        """What the data are, wherever they are: copied or not, it is the same dataset."""
        return content_of(self.shards)


def _checked(
    entry: IndexEntry, index: AbstractIndex, *, name: str | None, details: dict[str, Any]
) -> _Publication:
    shards = shards_of_entry(entry)
    if not shards:
        raise NoDataUrlsError(
            f"The entry {entry.name!r} has no data URLs, so there is nothing to promote. "
            "Insert the dataset again with index.insert_dataset(dataset, name=…)."
        )
    return _Publication(
        name=check_name(entry.name if name is None else name),
        schema=_schema_of_ref(index, entry.schema_ref),
        shards=shards,
        # An entry of a user's own index has the four members of the protocol, maybe no more.
        endpoint=getattr(entry, "endpoint", None),
        region=getattr(entry, "region", None),
        details=details,
    )


def _check_store(store: AbstractDataStore, client: AtmosphereClient) -> None:
    check_store(store, client)
    # The protocol does not ask for this member: our stores have it, to fail early.
    check = getattr(store, "check", None)
    if callable(check):
        check()


def _publish(
    client: AtmosphereClient,
    publication: _Publication,
    schema_uri: str,
    *,
    content: str | None = None,
    resend: Callable[[], _Publication] | None = None,
) -> str:
    published = publish_dataset(
        client,
        name=publication.name,
        schema_uri=schema_uri,
        shards=publication.shards,
        endpoint=publication.endpoint,
        region=publication.region,
        content=content,
        resend=None if resend is None else lambda: resend().shards,
        **publication.details,
    )
    return published.uri


def shards_of_entry(entry: IndexEntry) -> tuple[ShardInfo, ...]:
    """Every shard of an entry, with what the entry knows of it."""
    known: Sequence[ShardInfo] = getattr(entry, "shards", ())
    return tuple(known) or tuple(
        ShardInfo(url) for folded in entry.data_urls for url in expand_braces(folded)
    )


def _schema_of_ref(index: AbstractIndex, ref: str) -> Schema:
    return from_record(index.get_schema(ref), lambda nested: _schema_of_ref(index, nested))


def _copied(
    entry: IndexEntry,
    index: AbstractIndex,
    publication: _Publication,
    store: AbstractDataStore,
) -> _Publication:
    # The same content goes to the same place, so that a second run finds what the first sent.
    prefix = f"{default_prefix(publication.name)}/{publication.content[:16]}"
    dataset: Dataset[Any] = Dataset.of(index.decode_schema(entry.schema_ref), entry)
    copy_shards = getattr(store, "copy_shards", None)
    if copy_shards is None:
        # A store with the three members of the protocol alone: it gets the samples.
        urls = store.write_shards(dataset, prefix=prefix)
    else:
        known = {shard.url: shard for shard in publication.shards}
        shards = [known.get(url, ShardInfo(url)) for url in dataset.shard_list]
        urls = copy_shards(shards, dataset.source.open_shard, prefix=prefix)
    endpoint, region = getattr(store, "endpoint", None), getattr(store, "region", None)
    check_public(urls, endpoint=endpoint)
    return replace(publication, shards=shards_of(urls), endpoint=endpoint, region=region)


def _first(given: Any, recorded: Any) -> Any:
    return recorded if given is None else given
