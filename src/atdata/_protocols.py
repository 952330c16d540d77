"""The protocols of backends: samples, entries, indexes, stores, sources.

``isinstance`` works with all of them; it looks at the names of the members, not at their types.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from inspect import getattr_static
from typing import IO, Any, Protocol, TypeGuard, TypeVar, runtime_checkable

__all__ = [
    "AbstractDataStore",
    "AbstractIndex",
    "DataSource",
    "IndexEntry",
    "Packable",
    "ShardReader",
]

P = TypeVar("P", bound="Packable")


@runtime_checkable
class Packable(Protocol):
    """A sample with a type, such as an instance of a class with ``@atdata.packable``."""

    @classmethod
    def from_data(cls: type[P], data: Mapping[str, Any]) -> P:
        """Make a sample from field values, each checked against its annotation."""

    @classmethod
    def from_bytes(cls: type[P], data: bytes) -> P:
        """Make a sample from the msgpack bytes of `packed`."""

    @property
    def packed(self) -> bytes:
        """The sample as msgpack bytes."""

    @property
    def as_wds(self) -> dict[str, Any]:
        """The sample as WebDataset writers expect it: ``__key__`` and ``msgpack``."""


@runtime_checkable
class IndexEntry(Protocol):
    """One dataset in any index. Reading a property does no I/O."""

    @property
    def name(self) -> str:
        """Human-readable name of the dataset."""

    @property
    def schema_ref(self) -> str:
        """Reference of its schema, ``atdata://local/…`` or ``at://…``."""

    @property
    def data_urls(self) -> list[str]:
        """WebDataset URLs of all shards. Several shards are folded into brace notation, so the
        first URL alone reads the whole dataset."""

    @property
    def metadata(self) -> dict[str, Any] | None:
        """What the publisher attached, or None."""


@runtime_checkable
class AbstractIndex(Protocol):
    """Schemas and datasets of one machine, a team or the network, by name and reference."""

    def insert_dataset(
        self,
        ds: Any,
        *,
        name: str,
        schema_ref: str | None = None,
        prefix: str | None = None,
        maxcount: int | None = None,
        maxsize: int | None = None,
        metadata: Mapping[str, Any] | None = None,
        description: str | None = None,
        tags: Iterable[str] | None = None,
        license: str | None = None,
    ) -> IndexEntry:
        """Record a dataset. With a data store, its shards are written there first.

        Description, tags, licence and metadata stay as they are in the newest revision of the name
        unless they are given; an empty one (``""``, ``[]``, ``{}``) clears it. The record is
        written last: after an error none was written, and trying again resumes.

        Args:
            ds: A ``Dataset``. Without a data store it must be as stored: no filter, map or lens,
                and no rank's part.
            name: Name to find it by, 1 to 256 characters.
            schema_ref: Schema of its samples; None: that of ``ds.sample_type``, published with
                ``version=None``.
            prefix: Path in the store below which its shards are placed; None: one of the name and
                the content.
            maxcount: Most samples in a shard in the store.
            maxsize: Most bytes in a shard in the store.
            metadata: Anything else to keep with it: None, bool, int, float, str, bytes, lists and
                dicts with str keys.
            description: What it is.
            tags: At most 30 words to find it by.
            license: SPDX expression, for example ``MIT``.
        """

    def get_dataset(self, ref: str) -> IndexEntry:
        """The newest entry with this name or reference.

        Raises:
            KeyError: Not found.
        """

    def list_datasets(self) -> Iterator[IndexEntry]:
        """The newest revision of every dataset."""

    def publish_schema(
        self,
        sample_type: type,
        *,
        version: str | None = None,
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> str:
        """Record the schema of a sample type, those of nested types first; return its reference.

        Where a schema with the same fields exists under this version, its reference is returned
        and nothing changes, description and metadata included.

        Args:
            sample_type: A packable class, or a Schema, whose version counts where none is given.
            version: ``major.minor.patch``. None: the newest of all versions with these fields, else
                the next one: minor where only optional fields were added, else major.
            description: What the samples are.
            metadata: Anything else to keep with it; must be JSON, on the network without floats.

        Raises:
            SampleTypeError: Not a packable class, or `DictSample`.
            SchemaConflictError: The version exists with other fields; shows the difference.
            SchemaRefError: ``version`` is not one.
        """

    def get_schema(self, ref: str) -> dict[str, Any]:
        """The record of a schema, with ``name``, ``version`` and ``fields``.

        Raises:
            KeyError: Not found.
        """

    def list_schemas(self) -> Iterator[dict[str, Any]]:
        """The record of every schema."""

    def decode_schema(self, ref: str) -> type[Packable]:
        """A schema as a sample type. No code that its record names is imported or run."""


@runtime_checkable
class AbstractDataStore(Protocol):
    """Where shards are written to. `atdata.capabilities` has what a store can do besides."""

    def write_shards(
        self,
        ds: Any,
        *,
        prefix: str,
        maxcount: int | None = None,
        maxsize: int | None = None,
    ) -> list[str]:
        """Write every sample of a dataset, and return the URL of each shard, in order.

        Args:
            ds: A ``Dataset``.
            prefix: Path below which the shards are placed.
            maxcount: Most samples in a shard.
            maxsize: Most bytes in a shard.

        Raises:
            NoDataUrlsError: The dataset has no samples (a ValueError).
            StoreError: The prefix is in use for other samples, which stay as they are; or the store
                is full or fails. A store that names shards by their content ignores the prefix.
            ValueError: The prefix leads out of the store.
        """

    def read_url(self, url: str) -> str:
        """A URL that readers can open, for a URL of this store."""

    def supports_streaming(self) -> bool:
        """Whether shards can be read in place, without a download."""


@runtime_checkable
class DataSource(Protocol):
    """Where shards are read from. A class with these three members works with ``Dataset``.

    `atdata.capabilities` has what a source can do besides.
    """

    @property
    def shard_list(self) -> list[str]:
        """Identifiers of all shards, in order."""

    def shards(self) -> Iterator[tuple[str, IO[bytes]]]:
        """The identifier of each shard and an open stream of its bytes, in order."""

    def open_shard(self, shard_id: str) -> IO[bytes]:
        """Open one shard.

        Raises:
            KeyError: No such shard.
        """


@runtime_checkable
class ShardReader(Protocol):
    """What opens the URLs of one scheme: a class made without arguments.

    Packages add theirs with an entry point in the group ``atdata.source``, named after the scheme.
    """

    def open(self, url: str, *, policy: Any = None) -> IO[bytes]:
        """Open one shard as a stream of its bytes.

        Args:
            url: The shard's URL.
            policy: The gate for URLs from records of the network, which are ``https``, ``s3`` or
                ``at``; None for every other scheme.

        Raises:
            ShardNotFoundError: There is no such shard.
            SourceError: It cannot be read.
            UnsafeUrlError: The policy refuses it.
        """

    def expand(self, url: str, *, policy: Any = None) -> list[str]:
        """The URLs that a URL with globs, or of a folder, stands for, sorted; may be empty."""


def is_source(value: object) -> TypeGuard[DataSource]:
    """Whether a value has the members of `DataSource`, without asking for its shards.

    ``isinstance`` of Python 3.11 reads the property, which may list a bucket.
    """
    names = ("shard_list", "shards", "open_shard")
    absent = object()
    if all(getattr_static(value, name, absent) is not absent for name in names):
        return True
    # Members that __getattr__ delegates can only be asked for.
    return hasattr(type(value), "__getattr__") and isinstance(value, DataSource)
