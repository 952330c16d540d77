"""Optional capabilities of sources, stores and entries: a protocol for each.

A class has a capability when it has the method; nothing is registered or inherited. What lacks one
works all the same, in the slower or later way that the protocol names. ``isinstance`` answers
whether a value has it, without I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO, Any, Protocol, TypeAlias, runtime_checkable

from atdata._protocols import AbstractDataStore, DataSource, IndexEntry
from atdata._shardlist import ShardInfo, expand_braces
from atdata.errors import OptionError

__all__ = [
    "ByteRanges",
    "Progress",
    "SupportsByteRanges",
    "SupportsCheck",
    "SupportsCopy",
    "SupportsEndpoint",
    "SupportsFiles",
    "SupportsFromClient",
    "SupportsFromUrl",
    "SupportsLocalPaths",
    "SupportsMaxShardBytes",
    "SupportsNeighbours",
    "SupportsPlannedCopies",
    "SupportsPresentCopies",
    "SupportsPublicCheck",
    "SupportsRecordedType",
    "SupportsShardInfo",
    "SupportsSidecars",
    "SupportsUncached",
    "SupportsUrlRanges",
]

Progress: TypeAlias = Callable[[int], None]
"""Called with a number of bytes each time that so many more are done."""


class ByteRanges(Protocol):
    """One shard as bytes by position. Safe to use from several threads."""

    max_gap_bytes: int
    """Unwanted bytes between two parts that are read with them, since a second read costs more."""
    max_read_bytes: int
    """Largest part that is worth one read."""
    size: int | None
    """Bytes of the shard, None until they are known. Code that knows them may set them: a shard of
    another size is then an error."""

    def read_into(self, view: memoryview, start: int) -> None:
        """Fill ``view`` with the bytes from ``start`` on. One round trip on a server.

        Raises:
            IntegrityError: The shard ends before that, or was changed.
            SourceError: It cannot be read.
        """


@runtime_checkable
class SupportsByteRanges(Protocol):
    """A source that reads parts of shards, for samples by position and exact shuffling.

    Without it, a shard that is no local file is copied to a temporary file when it is first read
    by position.
    """

    def ranges(self, shard_id: str) -> ByteRanges | None:
        """The shard as bytes by position; None where its server gives whole files only.

        Opening sends no request.
        """


@runtime_checkable
class SupportsUrlRanges(Protocol):
    """A `ShardReader` that reads parts of shards: what `SupportsByteRanges` is to a source."""

    def ranges(self, url: str, *, policy: Any = None) -> ByteRanges:
        """The shard at a URL as bytes by position. Opening sends no request.

        Args:
            url: The shard's URL.
            policy: As for ``ShardReader.open``.
        """


@runtime_checkable
class SupportsLocalPaths(Protocol):
    """A source that knows which of its shards are files of this machine: they are mapped."""

    def local_path(self, shard_id: str) -> Path | None:
        """The file that a shard is, whether it exists or not; None where it is not local.

        Asked often, so it must not open the file.
        """


@runtime_checkable
class SupportsSidecars(Protocol):
    """A source that opens the files next to its shards, such as their tables of samples.

    Without it, a shard is scanned once to find its samples.
    """

    def open_sidecar(self, shard_id: str, suffix: str) -> IO[bytes]:
        """Open the file whose name is the shard's followed by ``suffix``. One request.

        Raises:
            ShardNotFoundError: Not found.
            SourceError: It cannot be read.
        """


@runtime_checkable
class SupportsNeighbours(Protocol):
    """A source that opens other files in the folder of a shard, such as the schema of its samples.

    Without it, the schema that was written with the shards is not found.
    """

    def open_neighbour(self, shard_id: str, name: str) -> IO[bytes]:
        """Open the file of this name in the folder of a shard. One request.

        Raises:
            ShardNotFoundError: Not found.
            SourceError: It cannot be read.
        """


@runtime_checkable
class SupportsUncached(Protocol):
    """A source that copies shards to this machine, and can also be read without copying."""

    def uncached(self) -> DataSource:
        """The source that is copied: reading a little of it makes no copy of the whole."""


@runtime_checkable
class SupportsShardInfo(Protocol):
    """An index entry that knows its shards one by one.

    Without it, ``data_urls`` are expanded, and counts, sizes and hashes are unknown.
    """

    @property
    def shards(self) -> Sequence[ShardInfo]:
        """Every shard, in order, with samples, bytes and SHA-256 where known. No I/O."""


@runtime_checkable
class SupportsEndpoint(Protocol):
    """An entry or a store whose ``s3://`` URLs are on a server that has to be named."""

    @property
    def endpoint(self) -> str | None:
        """http(s) URL of the server; None: AWS itself. No I/O."""

    @property
    def region(self) -> str | None:
        """The bucket's region, where known. No I/O."""


@runtime_checkable
class SupportsCheck(Protocol):
    """A store that can find out early whether it will take shards.

    Without it, a store that refuses is noticed when the first shard is written.
    """

    def check(self) -> None:
        """Ask whether shards can be written. One or two requests; nothing is written.

        Raises:
            StoreError: They cannot; says why.
        """


@runtime_checkable
class SupportsCopy(Protocol):
    """A store that copies shards byte for byte, so that their hashes stay.

    Without it, samples are read and written again as new shards.
    """

    def copy_shards(
        self,
        shards: Sequence[ShardInfo],
        open_shard: Callable[[str], IO[bytes]],
        *,
        prefix: str,
        progress: Progress | None = None,
    ) -> Sequence[str]:
        """Copy shards and return the URL of each copy, in the same order.

        A copy that exists already is not read again, and after an error what was copied stays, so
        that a second call resumes. Return ``ShardUrls`` to say size, hash and split as well.

        Args:
            shards: What to copy, at least one. Where size and hash are known they are checked.
            open_shard: Opens a shard by its URL. May be called from several threads.
            prefix: Path below which the copies are placed.
            progress: Called with a number of bytes each time that so many more are copied, or
                found copied already. Passed only where the caller wants it.

        Raises:
            NoDataUrlsError: There are no shards.
            IntegrityError: A shard has other bytes than recorded; it was not copied.
            StoreError: The store refuses one.
        """


@runtime_checkable
class SupportsRecordedType(Protocol):
    """A store that records the type of samples next to copies of shards, as when it writes them.

    Without it, copies in a folder are read without a type, unless an index or the caller says it.
    """

    def record_type(self, sample_type: type, *, prefix: str) -> None:
        """Record the type of the samples in the shards below ``prefix``, which are placed.

        What another call recorded stays. A store without such files does nothing.

        Raises:
            StoreError: The store fails.
        """


@runtime_checkable
class SupportsPlannedCopies(Protocol):
    """A store that knows where copies would be before it makes any.

    Without it, the plan of a promotion cannot tell whether its record would change.
    """

    def planned(self, shards: Sequence[ShardInfo], *, prefix: str) -> Sequence[ShardInfo]:
        """The shards as `SupportsCopy.copy_shards` would place them, in order. No request."""


@runtime_checkable
class SupportsPresentCopies(Protocol):
    """A store that can list existing copies cheaply.

    Without it, the plan of a promotion counts every shard as one to be copied.
    """

    def present(self, shards: Sequence[ShardInfo], *, prefix: str) -> Sequence[str]:
        """The URLs of those shards that have been copied already. No shard is read."""


@runtime_checkable
class SupportsMaxShardBytes(Protocol):
    """A store that refuses shards above a size. Without it, any size is expected to fit."""

    def max_shard_bytes(self) -> int:
        """Largest shard that is taken, in bytes. At most one request, then remembered."""


@runtime_checkable
class SupportsFiles(Protocol):
    """A store that keeps other small files next to its shards, such as a manifest of them."""

    def file_url(self, name: str, *, prefix: str) -> str:
        """The URL that `write_file` would give a file. No request."""

    def write_file(self, name: str, data: bytes, *, prefix: str) -> str:
        """Write a file next to the shards of a prefix and return its URL.

        Idempotent: the same bytes under the same name change nothing.

        Raises:
            ShardExistsError: The name has other bytes, which stay.
            StoreError: The store refuses it.
        """


@runtime_checkable
class SupportsPublicCheck(Protocol):
    """A store that knows whether others can read what it holds once a dataset is published.

    Without it, only the URLs that it returns are judged, by their scheme, before the record is
    written.
    """

    def check_public(self, publisher: str) -> None:
        """Refuse a publication whose shards others could not read. No request.

        Args:
            publisher: DID of the account that publishes.

        Raises:
            PrivateUrlError: Only this machine can read the store.
            OptionError: The shards would not last, or not be found; says what to change.
        """


@runtime_checkable
class SupportsFromUrl(Protocol):
    """A class of stores that a URL can name, as ``--store`` does on the command line.

    Packages add theirs with an entry point in the group ``atdata.store``, named after the scheme.
    """

    @classmethod
    def from_url(cls, url: str) -> tuple[AbstractDataStore, str | None]:
        """The store that a URL names, and the prefix below which its shards go, if it names one.

        Sends no request.

        Raises:
            UrlError: It names no store; says how to write one.
            CredentialsError: The environment has no usable keys.
        """


@runtime_checkable
class SupportsFromClient(Protocol):
    """A class of stores that belong to an account of the network."""

    @classmethod
    def from_client(cls, client: Any) -> AbstractDataStore:
        """The store of the account that a client is logged in to. Sends no request."""


def address_of(place: object) -> tuple[str | None, str | None]:
    """Endpoint and region of an entry or a store; both None where it has none."""
    return (place.endpoint, place.region) if isinstance(place, SupportsEndpoint) else (None, None)


def known_shards_of(entry: object) -> tuple[ShardInfo, ...]:
    """What an entry knows of its shards, in order; empty where it knows nothing.

    Raises:
        OptionError: Its ``shards`` are not a sequence of `ShardInfo`.
    """
    if not isinstance(entry, SupportsShardInfo):
        return ()
    # The protocol looks at the name alone, which an entry of another package may use otherwise.
    shards: object = entry.shards
    if not isinstance(shards, Iterable):
        raise _no_shards(entry, type(shards).__name__)
    known = tuple(shards)
    for shard in known:
        if not isinstance(shard, ShardInfo):
            raise _no_shards(entry, f"{type(shard).__name__} in {type(shards).__name__}")
    return known


def shards_of_entry(entry: IndexEntry) -> tuple[ShardInfo, ...]:
    """Every shard of an entry, with what the entry knows of it."""
    return known_shards_of(entry) or tuple(
        ShardInfo(url) for folded in entry.data_urls for url in expand_braces(folded)
    )


def _no_shards(entry: object, found: str) -> OptionError:
    return OptionError(
        f"{type(entry).__name__}.shards: expected a sequence of atdata.ShardInfo, one "
        f"for each shard, found {found}. Without the attribute, the shards of data_urls are read."
    )
