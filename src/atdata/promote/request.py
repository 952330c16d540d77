"""What is to be promoted, gathered from the entry, its index and the caller's arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from atdata._protocols import AbstractDataStore, AbstractIndex, IndexEntry
from atdata._refs import (
    DATASET_COLLECTION,
    NEWER_DATASET_COLLECTION,
    NEWER_SCHEMA_COLLECTION,
    SCHEMA_COLLECTION,
)
from atdata._secrets import redacted_repr
from atdata._shardlist import ShardInfo, expand_braces
from atdata.atmosphere.entry import AtmosphereIndexEntry
from atdata.atmosphere.manifest import Shelf
from atdata.atmosphere.record_keys import slug
from atdata.atmosphere.records import content_of
from atdata.atproto.client import AtmosphereClient
from atdata.capabilities import SupportsFiles, address_of
from atdata.dataset.dataset import Dataset
from atdata.dataset.named_splits import with_splits
from atdata.errors import OptionError
from atdata.schema.model import Schema
from atdata.schema.record import from_record

Oversize: TypeAlias = Literal["refuse", "split"]
Family: TypeAlias = Literal["ac.foundation.dataset", "science.alt.dataset"]
"""What the names of the record types begin with."""
_COLLECTIONS: Final = {
    "ac.foundation.dataset": (SCHEMA_COLLECTION, DATASET_COLLECTION),
    "science.alt.dataset": (NEWER_SCHEMA_COLLECTION, NEWER_DATASET_COLLECTION),
}
Source: TypeAlias = "str | AtmosphereIndexEntry"


@redacted_repr
@dataclass(frozen=True)
class Request:
    """One promotion, as it was asked for. Nothing of it has been checked yet."""

    entry: IndexEntry
    index: AbstractIndex
    client: AtmosphereClient
    name: str
    said: Mapping[str, Any]
    """Description, tags, licence and metadata: the caller's, else the entry's."""
    data_store: AbstractDataStore | None
    manifest_store: SupportsFiles | None
    oversize: Oversize
    sources: Sequence[Source]
    family: Family

    @classmethod
    def of(
        cls,
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
        manifest_store: AbstractDataStore | None = None,
        oversize: Oversize = "refuse",
        sources: Sequence[Source] | None = None,
        family: Family = "ac.foundation.dataset",
    ) -> Request:
        """Fill in from the entry what the caller did not give.

        Raises:
            OptionError: An argument that is not what it should be; says how to get it.
        """
        _check_kinds(entry, index, client, data_store)
        if manifest_store is not None and not isinstance(manifest_store, SupportsFiles):
            raise OptionError(
                f"manifest_store: expected a store that keeps files next to its shards, such as an "
                f"S3DataStore, found {type(manifest_store).__name__}."
            )
        if family not in _COLLECTIONS:
            raise OptionError(f"family={family!r}: write one of {', '.join(_COLLECTIONS)}.")
        if oversize not in ("refuse", "split"):
            raise OptionError(f"oversize={oversize!r}: write 'refuse' or 'split'.")
        if isinstance(sources, str):
            raise OptionError("sources: expected a list of AT URIs or entries, found a str.")
        given = {"description": description, "tags": tags, "license": license}
        # What is empty was not said of the entry: it takes nothing from what is published.
        said = {
            key: (getattr(entry, key, None) or None) if value is None else value
            for key, value in given.items()
        }
        said["metadata"] = (entry.metadata or None) if metadata is None else metadata
        return cls(
            entry,
            index,
            client,
            entry.name if name is None else name,
            said,
            data_store,
            manifest_store,
            oversize,
            tuple(sources or ()),
            family,
        )

    @property
    def schema_collection(self) -> str:
        """Where the schema's record is."""
        return _COLLECTIONS[self.family][0]

    @property
    def dataset_collection(self) -> str:
        """Where the dataset's record is."""
        return _COLLECTIONS[self.family][1]

    @property
    def shards(self) -> tuple[ShardInfo, ...]:
        """Every shard, where it is now."""
        return with_splits(shards_of_entry(self.entry))

    @property
    def content(self) -> str:
        """What the data are, wherever they are: copied or not, it is the same dataset."""
        return content_of(self.shards)

    @property
    def prefix(self) -> str:
        """Where copies go: the same content to the same place, for a second run to find."""
        return f"{slug(self.name)}/{self.content[:16]}"

    @property
    def place(self) -> tuple[str | None, str | None]:
        """Endpoint and region of the shards as they will be published."""
        return address_of(self.entry if self.data_store is None else self.data_store)

    @property
    def shelf(self) -> Shelf | None:
        """Where a manifest goes that is no blob."""
        store = self.manifest_store or self.data_store
        always = self.manifest_store is not None
        return Shelf(store, self.prefix, always) if isinstance(store, SupportsFiles) else None

    def schema(self) -> Schema:
        """The schema of the samples, nested ones filled in.

        Raises:
            SchemaNotFoundError: The index does not have it.
        """
        return _schema_of_ref(self.index, self.entry.schema_ref)

    def dataset(self) -> Dataset[Any]:
        """The dataset, to be read."""
        return Dataset.of(self.index.decode_schema(self.entry.schema_ref), self.entry)


def _check_kinds(entry: object, index: object, client: object, data_store: object) -> None:
    """Refuse what is of another kind than it should be, and say how to get what is wanted."""
    if not isinstance(entry, IndexEntry):
        name = repr(entry) if isinstance(entry, str) else "'name'"
        raise OptionError(
            f"entry: expected what an index says of a dataset, found {type(entry).__name__}. Get "
            f"it with index.get_dataset({name})."
        )
    if not callable(getattr(index, "get_schema", None)):
        raise OptionError(
            "index: expected the index that has the entry's schema, such as LocalIndex(), found "
            f"{type(index).__name__}."
        )
    if not isinstance(client, AtmosphereClient):
        raise OptionError(
            "client: expected an AtmosphereClient that is logged in, found "
            f"{type(client).__name__}."
        )
    if data_store is not None and not isinstance(data_store, AbstractDataStore):
        raise OptionError(
            "data_store: expected a store such as PDSBlobStore(client), found "
            f"{type(data_store).__name__}."
        )


def _schema_of_ref(index: AbstractIndex, ref: str) -> Schema:
    return from_record(index.get_schema(ref), lambda nested: _schema_of_ref(index, nested))


def shards_of_entry(entry: IndexEntry) -> tuple[ShardInfo, ...]:
    """Every shard of an entry, with what the entry knows of it."""
    known: Sequence[ShardInfo] = getattr(entry, "shards", ())
    return tuple(known) or tuple(
        ShardInfo(url) for folded in entry.data_urls for url in expand_braces(folded)
    )
