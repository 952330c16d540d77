"""Which of our sources, stores and entries have which capability.

mypy, which checks the tests as well, proves the table: signatures, not names alone.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import atdata
from atdata import capabilities
from atdata._protocols import ShardReader
from atdata.atmosphere import PDSBlobStore
from atdata.atmosphere.entry import AtmosphereIndexEntry
from atdata.capabilities import (
    ByteRanges,
    SupportsByteRanges,
    SupportsCheck,
    SupportsCopy,
    SupportsEndpoint,
    SupportsFiles,
    SupportsFromClient,
    SupportsFromUrl,
    SupportsLocalPaths,
    SupportsMaxShardBytes,
    SupportsNeighbours,
    SupportsPlannedCopies,
    SupportsPresentCopies,
    SupportsPublicCheck,
    SupportsRecordedType,
    SupportsShardInfo,
    SupportsSidecars,
    SupportsUncached,
    SupportsUrlRanges,
)
from atdata.errors import OptionError
from atdata.local import DiskDataStore, LocalDatasetEntry, S3DataStore
from atdata.sources.blob import BlobReader
from atdata.sources.byte_ranges import FileBytes
from atdata.sources.cache import CachedSource
from atdata.sources.disk import DiskReader
from atdata.sources.fsspec import FsspecReader
from atdata.sources.http import HttpReader
from atdata.sources.http_ranges import HttpBytes
from atdata.sources.s3_reader import S3Reader
from atdata.sources.subset import SubsetSource
from atdata.sources.url import URLSource

_1: tuple[type[ByteRanges], ...] = (FileBytes, HttpBytes)

# Sources.
_2: tuple[type[SupportsByteRanges], ...] = (URLSource, SubsetSource, CachedSource)
_3: tuple[type[SupportsLocalPaths], ...] = (URLSource, SubsetSource, CachedSource)
_4: tuple[type[SupportsSidecars], ...] = (URLSource, SubsetSource, CachedSource)
_5: tuple[type[SupportsUncached], ...] = (CachedSource,)
_20: tuple[type[SupportsNeighbours], ...] = (URLSource, SubsetSource, CachedSource)
_18: tuple[type[SupportsUrlRanges], ...] = (HttpReader, S3Reader)
_19: tuple[type[ShardReader], ...] = (DiskReader, HttpReader, S3Reader, BlobReader, FsspecReader)

# Stores.
_6: tuple[type[SupportsCheck], ...] = (S3DataStore,)
_7: tuple[type[SupportsCopy], ...] = (DiskDataStore, S3DataStore, PDSBlobStore)
_8: tuple[type[SupportsFiles], ...] = (S3DataStore,)
_9: tuple[type[SupportsMaxShardBytes], ...] = (PDSBlobStore,)
_10: tuple[type[SupportsPlannedCopies], ...] = (S3DataStore, PDSBlobStore)
_11: tuple[type[SupportsPresentCopies], ...] = (S3DataStore, PDSBlobStore)
_21: tuple[type[SupportsRecordedType], ...] = (DiskDataStore, S3DataStore, PDSBlobStore)
_12: tuple[type[SupportsPublicCheck], ...] = (DiskDataStore, PDSBlobStore)
_13: tuple[type[SupportsFromUrl], ...] = (DiskDataStore, S3DataStore)
_14: tuple[type[SupportsFromClient], ...] = (PDSBlobStore,)

# Entries, and stores with an address.
_15: tuple[type[SupportsShardInfo], ...] = (LocalDatasetEntry, AtmosphereIndexEntry)
_16: tuple[type[SupportsEndpoint], ...] = (LocalDatasetEntry, AtmosphereIndexEntry, S3DataStore)


def test_every_capability_is_in_a_table() -> None:
    """No protocol is defined that nothing of ours has, and so nothing tests."""
    text = Path(__file__).read_text()
    for name in capabilities.__all__:
        assert name == "Progress" or f"type[{name}]" in text


def test_asking_reads_nothing() -> None:
    """Making a dataset of a source asks for its capabilities, and lists no shards."""

    class Listing:
        """A source whose list of shards costs a request."""

        @property
        def shard_list(self) -> list[str]:
            raise AssertionError("listed")

        def shards(self) -> object:
            raise AssertionError("listed")

        def open_shard(self, shard_id: str) -> object:
            raise AssertionError("opened")

    atdata.Dataset(Listing())  # type: ignore[arg-type]


@pytest.mark.parametrize("shards", [3, None, "one.tar", ["one.tar"], lambda: ()])
def test_an_entry_whose_shards_are_something_else(shards: object) -> None:
    """An entry of another package that uses the name otherwise is an error of ours."""

    class Entry:
        name, schema_ref, data_urls, metadata = "x", "y", ["one.tar"], None

    entry = Entry()
    entry.shards = shards  # type: ignore[attr-defined]
    with pytest.raises(OptionError, match=r"Entry\.shards: expected .*ShardInfo.* found"):
        atdata.Dataset(entry)


def test_the_documentation_lists_every_capability() -> None:
    """docs/protocols.md says what each adds, and what happens without it."""
    page = (Path(__file__).parents[1] / "docs" / "protocols.md").read_text()
    for name in capabilities.__all__:
        assert f"`{name}`" in page, name
