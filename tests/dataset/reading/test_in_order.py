"""Shards that are no files are opened ahead: in order, once, and closed when nobody reads on."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
import pytest
from numpy.typing import NDArray

import atdata
from atdata import Dataset, write_samples
from atdata.errors import SourceError


@atdata.packable
class Item:
    """A vector and a number."""

    vector: NDArray[np.float32]
    number: int


class Streams:
    """A source of streams in memory, which notes what is opened and closed."""

    def __init__(self, shards: dict[str, bytes | None]) -> None:
        self._shards = shards
        self.opened: list[str] = []
        self.streams: list[IO[bytes]] = []
        self.second = threading.Event()
        """Set when a second shard is opened."""

    @property
    def shard_list(self) -> list[str]:
        return list(self._shards)

    def list_shards(self) -> list[str]:
        return self.shard_list

    def shards(self) -> Iterator[tuple[str, IO[bytes]]]:
        return ((name, self.open_shard(name)) for name in self._shards)

    def open_shard(self, shard_id: str) -> IO[bytes]:
        self.opened.append(shard_id)
        if len(self.opened) == 2:
            self.second.set()
        data = self._shards[shard_id]
        if data is None:
            raise SourceError(f"{shard_id} is gone")
        self.streams.append(io.BytesIO(data))
        return self.streams[-1]


@pytest.fixture
def shards(tmp_path: Path) -> dict[str, bytes | None]:
    samples = [Item(np.full(100, i, np.float32), i) for i in range(4000)]
    dataset = write_samples(samples, tmp_path / "data.tar", maxcount=1000)
    return {Path(shard).name: Path(shard).read_bytes() for shard in dataset.shard_list}


def ended() -> None:
    """Wait for the threads that read ahead."""
    for thread in threading.enumerate():
        if thread.name.startswith(("atdata-ahead", "atdata-open")):
            thread.join(10)


@pytest.mark.parametrize("size", [None, 256])
def test_every_shard_is_opened_once_and_closed(
    shards: dict[str, bytes | None], size: int | None
) -> None:
    """Samples come in order; each shard is opened once, in order, and none stays open."""
    source = Streams(shards)
    dataset = Dataset[Item](source)
    if size is None:
        numbers = [sample.number for sample in dataset.ordered()]
    else:
        numbers = [number for batch in dataset.ordered(size) for number in batch.number]
    assert numbers == list(range(4000))
    ended()
    assert source.opened == list(shards)
    assert all(stream.closed for stream in source.streams)


def test_the_next_shard_is_open_before_the_last_is_done(
    shards: dict[str, bytes | None],
) -> None:
    """While the last samples of a shard are read, the next shard is being opened."""
    source = Streams(shards)
    samples = Dataset[Item](source).ordered()
    for _ in range(999):
        next(samples)
    assert source.second.wait(10)
    assert next(samples).number == 999
    assert next(samples).number == 1000
    assert source.opened[:2] == list(shards)[:2]


def test_a_shard_that_cannot_be_opened_is_told_in_its_turn(
    shards: dict[str, bytes | None],
) -> None:
    """All samples before it come first."""
    source = Streams({**shards, list(shards)[2]: None})
    numbers: list[int] = []
    samples = Dataset[Item](source).ordered()
    with pytest.raises(SourceError, match="is gone"):
        numbers.extend(sample.number for sample in samples)
    assert numbers == list(range(2000))


def test_who_stops_early_leaves_nothing_open(shards: dict[str, bytes | None]) -> None:
    """An iterator that is dropped in the middle closes its streams and ends its threads."""
    source = Streams(shards)
    samples = Dataset[Item](source).ordered()
    for _ in range(999):
        next(samples)
    del samples
    ended()
    assert all(stream.closed for stream in source.streams)
    assert not [t for t in threading.enumerate() if t.name.startswith("atdata-open")]
