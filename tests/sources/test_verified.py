"""Shards that are read from a server are checked against what is recorded of them."""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from atdata import Dataset, DictSample, IndexEntry, ShardInfo, write_samples
from atdata.errors import IntegrityError
from atdata.local import LocalDatasetEntry
from atdata.sources.hashed_stream import CheckedStream
from atdata.sources.verified import check_file, verified
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
    """A shard with one changed byte does not end without an error."""
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
    """A whole shard with fewer samples in its place is detected by its size."""
    write_samples([DictSample(x=i) for i in range(10)], tmp_path / "b.tar")
    web.files["/a.tar"] = (tmp_path / "b.tar").read_bytes()
    with pytest.raises(IntegrityError, match="as recorded"):
        list(Dataset(entry).ordered())


def test_what_is_not_known_is_not_checked(web: WebServer, entry: LocalDatasetEntry) -> None:
    """Without a hash and a size there is nothing to check."""
    url = f"{web.url}/a.tar"
    assert len(list(Dataset.of(DictSample, url, shards=[ShardInfo(url)]).ordered())) == 5_000


def test_a_changed_byte_is_an_error_while_it_is_cached(
    web: WebServer, entry: LocalDatasetEntry, tmp_path: Path
) -> None:
    """A cache hashes what it copies: a shard with a changed byte is neither whole nor kept."""
    changed = bytearray(web.files["/a.tar"])
    changed[changed.index(b"\x81\xa1x\x07") + 3] = 8
    web.files["/a.tar"] = bytes(changed)
    for room in (10**9, 1):
        cached = Dataset(entry).cached(tmp_path / "cache", max_bytes=room)
        with pytest.raises(IntegrityError):
            list(cached)
    assert not list((tmp_path / "cache").glob("**/*.shard"))


@pytest.mark.parametrize(
    ("recorded", "found"),
    [({"sha256": "ab" * 32}, "expected the SHA-256"), ({"bytes": 7}, "expected 7 bytes")],
    ids=["hash", "size"],
)
def test_a_hash_that_was_checked_is_compared(recorded: dict[str, Any], found: str) -> None:
    """A blob, whose bytes are those of its CID, is still no shard of another hash or size."""
    data = b"data" * 1_000
    known = hashlib.sha256(data).hexdigest()
    right = ShardInfo("a", bytes=len(data), sha256=known)

    def read(info: ShardInfo) -> bytes:
        raw = io.BufferedReader(io.BytesIO(data))
        return verified(CheckedStream(raw, known), info, "full").read()  # type: ignore[arg-type]

    assert read(right) == data
    with pytest.raises(IntegrityError, match=found):
        read(replace(right, **recorded))


def test_a_file_whose_time_was_put_back_is_hashed_again(tmp_path: Path) -> None:
    """Other bytes in a file, alike in size and time of change, are hashed again."""
    path = tmp_path / "a.tar"
    path.write_bytes(b"first")
    os.utime(path, ns=(10**18, 10**18))
    recorded = ShardInfo("a", bytes=5, sha256=hashlib.sha256(b"first").hexdigest())
    check_file(path, recorded, "full")
    with path.open("r+b") as file:
        file.write(b"other")
    os.utime(path, ns=(10**18, 10**18))
    with pytest.raises(IntegrityError, match="SHA-256"):
        check_file(path, recorded, "full")
