"""LocalIndex: the datasets and schemas of one machine or one team."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from atdata._protocols import AbstractDataStore, Packable
from atdata._refs import known_name
from atdata._secrets import redacted
from atdata._shardlist import Layout
from atdata.dataset.dataset import Dataset
from atdata.errors import OptionError
from atdata.indexing.dataset_spec import DatasetSpec
from atdata.indexing.open_entry import open_entry
from atdata.indexing.placement import (
    Sharding,
    check_as_stored,
    check_has_store,
    check_insertable,
    check_is_store,
    check_schema_fits,
    leave_in_place,
    write_to_store,
)
from atdata.local.entry import LocalDatasetEntry, from_row
from atdata.local.find_dataset import find_by_cid, find_by_name, find_dataset, not_found
from atdata.local.labels import set_label
from atdata.local.mirrored import MirroredRecords
from atdata.local.open_backend import open_backend
from atdata.local.revisions import add_revision
from atdata.local.schemas import SchemaRecord, Schemas
from atdata.local.search import index_older_entries, search
from atdata.schema.build import build_type
from atdata.schema.model import Schema

if TYPE_CHECKING:
    from redis import Redis


class LocalIndex:
    """Datasets by name and schemas by reference, kept in SQLite, PostgreSQL or Redis.

    Safe to use from several threads, and by several processes on one database.

    Args:
        where: A path (SQLite) or ``sqlite:///…``, ``postgresql://…``, ``redis://…``,
            ``rediss://…``. None: what the environment variable ``ATDATA_INDEX`` names, else a
            file in the user's data folder.
        data_store: Where `insert_dataset` writes shards; None: it records the URLs as they are.
        redis: A live ``redis.Redis``, instead of ``where``. It is not closed.

    Raises:
        BackendError: The database does not answer, or is not an index.
        UrlError: ``where`` cannot be understood.
    """

    def __init__(
        self,
        where: str | Path | None = None,
        *,
        data_store: AbstractDataStore | None = None,
        redis: Redis | None = None,
    ) -> None:
        check_is_store(data_store, "DiskDataStore(path)")
        self.data_store = data_store
        self._backend = open_backend(where, redis)
        index_older_entries(self._backend)
        self._schemas = Schemas(self._backend)

    def insert_dataset(
        self,
        ds: Dataset[Any],
        *,
        name: str,
        schema_ref: str | None = None,
        prefix: str | None = None,
        maxcount: int | None = None,
        maxsize: int | None = None,
        layout: Layout | None = None,
        metadata: Mapping[str, Any] | None = None,
        description: str | None = None,
        tags: Iterable[str] | None = None,
        license: str | None = None,
    ) -> LocalDatasetEntry:
        """Record a dataset; with a data store, write every sample there first.

        The arguments are those of `AbstractIndex.insert_dataset`, and ``layout``, the layout of the
        shards in the store, as for `atdata.write_samples`; None keeps that of ``ds``, and
        copies its shards byte for byte where they have WebDataset's. The same content under the
        same name returns the existing entry. Other content, or other details, add a revision.
        Everything is checked before anything is written.

        Raises:
            DatasetNameError: ``name`` cannot be one.
            SchemaNotFoundError: ``schema_ref`` is not published here.
            SchemaConflictError: It has other fields than ``ds.sample_type``.
            ShardNotFoundError: A shard that is a local file does not exist.
            OptionError: Sharding arguments without a data store, or another bad argument.
            StoreError: The store failed; no entry was written.
        """
        sharding = Sharding(prefix, maxcount, maxsize, layout)
        check_has_store(
            self.data_store, sharding, make="LocalIndex(…, data_store=DiskDataStore(path))"
        )
        spec = DatasetSpec(name, description, tags, license, metadata)
        if self.data_store is None:
            return self._insert_in_place(ds, spec, schema_ref)
        spec = spec.checked()
        check_insertable(ds)
        ref = self._schema_ref(ds, schema_ref)
        placed = write_to_store(self.data_store, ds, sharding, name=name, schema_ref=ref)
        return add_revision(self._backend, spec, ref, placed)

    def add_entry(
        self,
        ds: Dataset[Any] | LocalDatasetEntry,
        *,
        name: str | None = None,
        schema_ref: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        description: str | None = None,
        tags: Iterable[str] | None = None,
        license: str | None = None,
    ) -> LocalDatasetEntry:
        """Record where the shards of a dataset are; nothing is copied, data store or not.

        Local files are read once, for their hash and number of samples, and recorded with
        absolute paths. Arguments, result and errors are those of `insert_dataset`, except that
        ``ds`` may also be an entry of another index, or one that you made. What is not given, the
        name too, is then taken from the entry. Its schema must be published here.
        """
        if isinstance(ds, LocalDatasetEntry):
            name = ds.name if name is None else name
        if name is None:
            raise OptionError("add_entry needs the name of the dataset: name='…'.")
        spec = DatasetSpec(name, description, tags, license, metadata)
        if not isinstance(ds, LocalDatasetEntry):
            return self._insert_in_place(ds, spec, schema_ref)
        schema_ref = schema_ref or ds.schema_ref
        # An entry without tags does not say that the dataset is to have none.
        described = spec.over(ds) if ds.tags else replace(spec.over(ds), tags=tags)
        opened = open_entry(replace(ds, schema_ref=schema_ref), self)
        return self._insert_in_place(opened, described, schema_ref)

    def _insert_in_place(
        self, ds: Dataset[Any], spec: DatasetSpec, schema_ref: str | None
    ) -> LocalDatasetEntry:
        spec = spec.checked()
        check_insertable(ds)
        check_as_stored(ds, spec.name)
        placed = leave_in_place(ds)
        ref = self._schema_ref(ds, schema_ref)
        return add_revision(self._backend, spec, ref, placed)

    def get_dataset(self, ref: str) -> LocalDatasetEntry:
        """The newest revision of a name, ``@local/name``, or a CID.

        ``@local/name@1.2.0`` is what this label leads to, else the newest revision with this
        version of the schema.

        Raises:
            DatasetNotFoundError: Not found; suggests similar names.
            RefError: ``ref`` can be none of these.
        """
        return from_row(find_dataset(self._backend, ref))

    def get_entry_by_name(self, name: str) -> LocalDatasetEntry:
        """The newest revision of a name.

        Raises:
            DatasetNotFoundError: Not found; suggests similar names.
            DatasetNameError: ``name`` cannot be one.
        """
        return from_row(find_by_name(self._backend, name))

    def get_entry(self, cid: str) -> LocalDatasetEntry:
        """The revision with this CID; of several, the one that was recorded last.

        A CID identifies the content alone; a label leads to one revision for good.

        Raises:
            DatasetNotFoundError: Not found.
            RefError: It is not a CID.
        """
        return from_row(find_by_cid(self._backend, cid))

    def list_datasets(self) -> Iterator[LocalDatasetEntry]:
        """Every dataset, its newest revision, in order of name.

        Read in pages. What others write meanwhile may or may not appear; everything else
        appears once.
        """
        return map(from_row, self._backend.each_entry())

    def search(
        self,
        text: str = "",
        *,
        tags: Iterable[str] | None = None,
        license: str | None = None,
        schema: str | type | None = None,
        limit: int = 100,
    ) -> list[LocalDatasetEntry]:
        """Datasets whose newest revision has every word of a text, and all that is asked else.

        Words are looked for in names, tags, the schema's class, licences and descriptions, in
        capitals or not, with accents or without, and from their beginning: ``digit`` finds
        ``digits``. Reads some bits for each entry of the index, and the entries that it returns.

        Args:
            text: Words; none: whatever has the tags, licence and schema.
            tags: All of these.
            license: This one, as ``MIT``.
            schema: A reference; or a class, or its name, in any version.
            limit: Most datasets.

        Returns:
            Those that fit best first: whole words before beginnings, names before tags before
            the rest; else in order of name.

        Raises:
            OptionError: An argument that is not one.
        """
        return search(self._backend, text, tags=tags, license=license, schema=schema, limit=limit)

    def history(self, name: str) -> list[LocalDatasetEntry]:
        """Every revision of a name, oldest first.

        Raises:
            DatasetNotFoundError: Not found; suggests similar names.
        """
        rows = self._backend.history(known_name(name))
        if not rows:
            raise not_found(self._backend, name)
        return [from_row(row) for row in rows]

    def label(
        self, name: str, version: str, entry: LocalDatasetEntry, *, move: bool = False
    ) -> None:
        """Make ``@local/name@version`` mean this revision, whatever is inserted later.

        Of several callers that set one label at once, one gets it. Where the revision is
        deleted, the label leads nowhere; no other revision takes its place.

        Args:
            name: Name of the label; mostly the dataset's own.
            version: ``major.minor.patch``.
            entry: A revision of this index.
            move: Whether an existing label is moved to this revision.

        Raises:
            LabelExistsError: It means another one, and ``move`` is False.
            DatasetNotFoundError: This index does not have the revision.
            SchemaRefError: ``version`` is not ``major.minor.patch``.
        """
        set_label(self._backend, name, version, entry, move=move)

    def delete_dataset(self, name: str) -> int:
        """Forget a name with all its revisions. The shards stay where they are.

        Returns:
            How many revisions there were.

        Raises:
            DatasetNotFoundError: Not found; suggests similar names.
        """
        removed = self._backend.remove(known_name(name))
        if not removed:
            raise not_found(self._backend, name)
        return removed

    def publish_schema(
        self,
        sample_type: type | Schema,
        *,
        version: str | None = None,
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> str:
        """Record the schema of a sample type, those of nested types first.

        Arguments and errors are those of `AbstractIndex.publish_schema`.

        Returns:
            ``atdata://local/sampleSchema/{Class}@{version}``.
        """
        return self._schemas.publish(
            sample_type, version=version, description=description, metadata=metadata
        )

    def get_schema(self, ref: str) -> SchemaRecord:
        """The record of a schema: a dict with ``name``, ``version``, ``fields``; and ``.ref``.

        Raises:
            SchemaNotFoundError: Not found; suggests similar names.
            SchemaRefError: ``ref`` cannot be parsed.
        """
        return self._schemas.record(ref)

    def list_schemas(self) -> Iterator[SchemaRecord]:
        """Every schema's record, by class name and then by version."""
        return self._schemas.records()

    def schema_of_ref(self, ref: str) -> Schema:
        """The schema that a reference names, nested ones filled in. Errors as for `get_schema`."""
        return self._schemas.schema(ref)

    def decode_schema(self, ref: str) -> type[Packable]:
        """The sample type that a schema describes. Equal schemas give the same class.

        Raises:
            SchemaNotFoundError: Not found.
            UnknownKindError: It has a kind that this version does not know.
        """
        return build_type(self._schemas.schema(ref))

    @property
    def mirrored(self) -> MirroredRecords:
        """The copies of the network's records in this index, which a mirror writes."""
        return MirroredRecords(self._backend)

    def close(self) -> None:
        """Close the database. The index must not be used afterwards."""
        self._backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        if "_backend" not in vars(self):
            return "<LocalIndex that could not be opened>"
        store = f", data_store={self.data_store!r}" if self.data_store is not None else ""
        return redacted(f"LocalIndex({self._backend.address!r}{store})")

    def _schema_ref(self, ds: Dataset[Any], ref: str | None) -> str:
        """The reference that an entry gets; the schema agrees with the dataset's type."""
        if ref is None:
            return self.publish_schema(ds.sample_type)
        parsed = str(self._schemas.parse(ref))
        check_schema_fits(ds, self._schemas.schema(parsed), parsed)
        return parsed
