"""Request: an entry, its index, and what the caller asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from atdata._protocols import AbstractDataStore, AbstractIndex, DataSource, IndexEntry
from atdata._secrets import redacted_repr
from atdata._shardlist import ShardInfo
from atdata.atmosphere.manifest import ObjectPlace
from atdata.atmosphere.record_keys import slug
from atdata.atmosphere.records import content_of
from atdata.atproto.client import AtmosphereClient
from atdata.capabilities import SupportsFiles, address_of, shards_of_entry
from atdata.dataset.dataset import Dataset
from atdata.dataset.named_splits import with_splits
from atdata.errors import OptionError
from atdata.indexing.dataset_spec import DatasetSpec
from atdata.indexing.placement import check_is_store
from atdata.samples.dict_sample import DictSample
from atdata.schema.model import Schema
from atdata.schema.record import from_record
from atdata.system.forks import once

Oversize: TypeAlias = Literal["refuse", "split"]
_DESCRIBED: Final = ("description", "tags", "license", "metadata")


@redacted_repr
@dataclass(frozen=True)
class Request:
    """One promotion, as it was asked for. Nothing but the kinds of its arguments is checked.

    Raises:
        OptionError: An argument of the wrong kind; says how to get the right one.
    """

    entry: IndexEntry
    index: AbstractIndex
    client: AtmosphereClient
    given: DatasetSpec
    """The dataset's description by the caller. Not checked yet."""
    data_store: AbstractDataStore | None
    manifest_store: AbstractDataStore | None
    oversize: Oversize

    def __post_init__(self) -> None:
        if not callable(getattr(self.index, "get_schema", None)):
            raise OptionError(
                "index: expected the index that has the entry's schema, such as LocalIndex(), "
                f"found {type(self.index).__name__}."
            )
        if not isinstance(self.client, AtmosphereClient):
            raise OptionError(
                "client: expected an AtmosphereClient that is logged in, found "
                f"{type(self.client).__name__}."
            )
        check_is_store(self.data_store, "PDSBlobStore(client)")
        if self.manifest_store is not None and not isinstance(self.manifest_store, SupportsFiles):
            raise OptionError(
                "manifest_store: expected a store that keeps files next to its shards, such as an "
                f"S3DataStore, found {type(self.manifest_store).__name__}."
            )
        if self.oversize not in ("refuse", "split"):
            raise OptionError(f"oversize={self.oversize!r}: write 'refuse' or 'split'.")

    @once
    def spec(self) -> DatasetSpec:
        """The dataset's description, by the caller, else by the entry. Not checked yet."""
        # An entry that leaves something empty must not clear what is published.
        described: dict[str, Any] = {
            key: getattr(self.entry, key, None) or None for key in _DESCRIBED
        }
        return self.given.over(DatasetSpec(self.given.name, **described))

    @once
    def shards(self) -> tuple[ShardInfo, ...]:
        """Every shard where it is now, with its split."""
        return with_splits(shards_of_entry(self.entry))

    @once
    def content(self) -> str:
        """What identifies the data: copied or not, it is the same dataset."""
        return content_of(self.shards)

    @property
    def prefix(self) -> str:
        """Where copies go: the same content to the same place, for a second run to find."""
        return f"{slug(self.spec.name)}/{self.content[:16]}"

    @property
    def place(self) -> tuple[str | None, str | None]:
        """Endpoint and region of the shards as they will be published."""
        return address_of(self.entry if self.data_store is None else self.data_store)

    @property
    def object_place(self) -> ObjectPlace | None:
        """Where a manifest goes that is no blob."""
        store = self.manifest_store or self.data_store
        always = self.manifest_store is not None
        return ObjectPlace(store, self.prefix, always) if isinstance(store, SupportsFiles) else None

    @once
    def source(self) -> DataSource:
        """What opens the shards where they are now."""
        return Dataset.of(DictSample, self.entry).source

    def schema(self) -> Schema:
        """The schema of the samples, nested ones filled in. Asks the index.

        Raises:
            SchemaNotFoundError: The index does not have it.
        """
        return _schema_of_ref(self.index, self.entry.schema_ref)

    def dataset(self) -> Dataset[Any]:
        """The dataset, for its samples. Asks the index for their type."""
        return Dataset.of(self.index.decode_schema(self.entry.schema_ref), self.entry)


def name_of(entry: object, name: str | None) -> str:
    """The name to publish under: the caller's, else the entry's; an OptionError if that is none."""
    if not isinstance(entry, IndexEntry):
        wanted = repr(entry) if isinstance(entry, str) else "'name'"
        raise OptionError(
            f"entry: expected an entry of an index, found {type(entry).__name__}. Get it with "
            f"index.get_dataset({wanted})."
        )
    return entry.name if name is None else name


def _schema_of_ref(index: AbstractIndex, ref: str) -> Schema:
    return from_record(index.get_schema(ref), lambda nested: _schema_of_ref(index, nested))
