"""Settings of a dataset: cached, verified, split and steps mean the same in every order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

import atdata
from atdata import Dataset, write_samples
from atdata._shardlist import ShardInfo
from atdata.errors import IntegrityError
from atdata.sources.verified import Verify
from tests.sources.web import WebServer, web_server

COUNT = 40


@atdata.packable
class Pair:
    number: int
    word: str


@atdata.packable
class Number:
    number: int


@dataclass
class Place:
    """A shard on a server, and a folder with a copy of it in which one value is another."""

    site: WebServer
    shard: ShardInfo
    folder: Path
    good: bytes

    def open(self) -> Dataset[Pair]:
        return Dataset.of(Pair, [self.shard.url], shards=(self.shard,))

    def plant(self) -> None:
        """Put the wrong copy where the right one would be."""
        for path in self.folder.iterdir():
            path.unlink()
        name = self.name
        bad = bytearray(self.good)
        at = self.good.index(b"w007")
        bad[at : at + 4] = b"evil"
        (self.folder / name).write_bytes(bad)

    @property
    def name(self) -> str:
        import hashlib

        key = hashlib.sha256(f"{self.shard.url}\0{self.shard.sha256}".encode()).hexdigest()[:32]
        return f"{key}-{self.shard.bytes}-{self.shard.sha256}.shard"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    written = write_samples([Pair(i, f"w{i:03d}") for i in range(COUNT)], tmp_path / "a.tar")
    (known,) = written.known_shards()
    data = (tmp_path / "a.tar").read_bytes()
    (tmp_path / "cache").mkdir(mode=0o700)
    with web_server() as site:
        site.files = {"/a.tar": data}
        table = tmp_path / "a.tar.idx"
        site.files["/a.tar.idx"] = table.read_bytes()
        shard = ShardInfo(f"{site.url}/a.tar", COUNT, len(data), known.sha256)
        yield Place(site, shard, tmp_path / "cache", data)


WAYS: dict[str, Callable[[Dataset[Any]], Any]] = {
    "ordered": lambda ds: sorted(s.number for s in ds),
    "batches": lambda ds: sorted(n for b in ds.batches(7) for n in b["number"].tolist()),
    "shuffled": lambda ds: sorted(s.number for s in ds.shuffled(seed=1)),
}


def outcome(place: Place, settings: list[Callable[[Any], Any]]) -> dict[str, Any]:
    """What each way of reading gives, the wrong copy in the cache before each."""
    found: dict[str, Any] = {}
    for way, read in WAYS.items():
        place.plant()
        dataset: Any = place.open()
        for setting in settings:
            dataset = setting(dataset)
        try:
            found[way] = read(dataset)
        except IntegrityError:
            found[way] = "error"
        found[f"{way}, copies"] = [
            path.read_bytes() == place.good for path in place.folder.iterdir()
        ]
    return found


@pytest.mark.parametrize("verify", ["full", "sizes", "off"])
def test_every_order_of_settings_means_the_same(place: Place, verify: Verify) -> None:
    """Of all chains of the same calls, all read the same, and treat a wrong copy alike."""
    calls: list[Callable[[Any], Any]] = [
        lambda ds: ds.cached(place.folder),
        lambda ds: ds.verified(verify),
        lambda ds: ds.split(1, 2),
        lambda ds: ds.filter(lambda sample: sample.number != 3),
        lambda ds: ds.as_type(Number),
    ]
    outcomes = [outcome(place, list(chain)) for chain in permutations(calls[:4])]
    assert all(found == outcomes[0] for found in outcomes)
    assert outcome(place, [calls[4], *calls[:4]]) == outcome(place, [*calls[:4][::-1], calls[4]])


def test_the_last_call_of_a_setting_counts(place: Place, tmp_path: Path) -> None:
    """Another folder or another check replaces the one before, in the place of adding to it."""
    other = tmp_path / "other"
    place.plant()
    twice = place.open().cached(place.folder).verified("off").cached(other).verified("full")
    assert [s.word for s in twice] == [f"w{i:03d}" for i in range(COUNT)]
    assert [path.name for path in other.iterdir()] == [place.name]
    assert len(list(place.folder.iterdir())) == 1
    assert twice.source == place.open().verified("full").cached(other).source


@pytest.mark.parametrize("way", ["one", "slice", "key", "shuffled", "ordered", "batches"])
def test_a_wrong_copy_is_found_out_by_every_way_of_reading(place: Place, way: str) -> None:
    """A copy of the right name and size with another value is replaced, not read."""
    reads: dict[str, Callable[[Dataset[Pair]], str]] = {
        "one": lambda ds: ds[7].word,
        "slice": lambda ds: ds[5:9].word[2],
        "key": lambda ds: ds.by_key("000000007").word,
        "shuffled": lambda ds: next(s.word for s in ds.shuffled(seed=0) if s.number == 7),
        "ordered": lambda ds: list(ds)[7].word,
        "batches": lambda ds: next(iter(ds.batches(9)))["word"][7],
    }
    place.plant()
    assert reads[way](place.open().cached(place.folder)) == "w007"
    assert [path.read_bytes() for path in place.folder.iterdir()] == [place.good]
