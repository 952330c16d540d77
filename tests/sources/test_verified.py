"""Shards that are read from a server are held against what is recorded of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from atdata import Dataset, DictSample, IndexEntry, ShardInfo, write_samples
from atdata.errors import IntegrityError
from atdata.local import LocalDatasetEntry
from tests.sources.web import WebServer


@pytest.fixture
def entry(web: WebServer, tmp_path: Path) -> LocalDatasetEntry:
    """An entry whose one shard, of 5,000 samples, is on a web server."""
    written = write_samples([DictSample(x=i) for i in range(5_000)], tmp_path / "a.tar")
    [shard] = written.describe_shards()
    web.files["/a.tar"] = (tmp_path / "a.tar").read_bytes()
    found = LocalDatasetEntry("a", "ref", (shard.at(f"{web.url}/a.tar"),))
    assert isinstance(found, IndexEntry)
    return found


def test_what_is_recorded_is_read(entry: LocalDatasetEntry) -> None:
    """With the recorded bytes there is no error, in any order of reading."""
    assert len(list(Dataset(entry).ordered())) == 5_000
    assert len(list(Dataset(entry).filter(lambda s: s.x < 10).shuffled(batch_size=3))) == 4


@pytest.mark.parametrize("batch_size", [None, 64])
def test_a_changed_byte_is_an_error(
    web: WebServer, entry: LocalDatasetEntry, batch_size: int | None
) -> None:
    """A shard with one byte changed on its server does not end as if all was well."""
    changed = bytearray(web.files["/a.tar"])
    at = changed.index(b"\x81\xa1x\x07")
    changed[at + 3] = 8
    web.files["/a.tar"] = bytes(changed)
    read = Dataset(entry).ordered(batch_size) if batch_size else Dataset(entry).ordered()
    with pytest.raises(IntegrityError, match="SHA-256"):
        list(read)


def test_another_shard_in_its_place_is_an_error(
    web: WebServer, entry: LocalDatasetEntry, tmp_path: Path
) -> None:
    """A whole shard of fewer samples in its place is found out by its size."""
    write_samples([DictSample(x=i) for i in range(10)], tmp_path / "b.tar")
    web.files["/a.tar"] = (tmp_path / "b.tar").read_bytes()
    with pytest.raises(IntegrityError, match="as recorded"):
        list(Dataset(entry).ordered())


def test_what_is_not_known_is_not_checked(web: WebServer, entry: LocalDatasetEntry) -> None:
    """Without a hash and a size there is nothing to check."""
    url = f"{web.url}/a.tar"
    assert len(list(Dataset.of(DictSample, url, shards=[ShardInfo(url)]).ordered())) == 5_000
