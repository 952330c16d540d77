"""What one iterates is what is written, by every way out of a dataset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import atdata
from atdata.errors import NoDataUrlsError, OptionError
from atdata.local import LocalIndex
from atdata.stores.disk import DiskDataStore


@atdata.packable
@dataclass
class Point:
    """A number and an array."""

    number: int
    array: NDArray[np.int64]


@atdata.packable
@dataclass
class Number:
    """The number alone."""

    number: int


def points(folder: Path, count: int, maxcount: int) -> atdata.Dataset[Point]:
    """A dataset in a folder."""
    samples = [Point(number, np.arange(number % 3)) for number in range(count)]
    return atdata.write_samples(samples, folder / "points", maxcount=maxcount, fsync=False)


def shifted(sample: Any) -> Any:
    """A sample that is not stored."""
    return type(sample)(**{**vars(sample), "number": sample.number + 1000})


STEPS: dict[str, Callable[[Any], Any]] = {
    "filter": lambda ds: ds.filter(lambda sample: sample.number % 3 != 1),
    "map": lambda ds: ds.map(shifted),
    "lens": lambda ds: ds.as_type(Number),
    "verified": lambda ds: ds.verified("full"),
}


def written(ds: atdata.Dataset[Any], folder: Path, way: str) -> atdata.Dataset[Any]:
    """A dataset written one way, as it is read afterwards."""
    store = DiskDataStore(folder / "store")
    if way == "write_samples":
        return atdata.write_samples(ds, folder / "again", maxcount=4, fsync=False)
    if way == "write_shards":
        return atdata.Dataset.of(ds.sample_type, store.write_shards(ds, prefix="p"))
    if way == "other shards":
        return atdata.Dataset.of(ds.sample_type, store.write_shards(ds, prefix="q", maxcount=5))
    with LocalIndex(folder / "index.db", data_store=store) as index:
        return atdata.Dataset.of(ds.sample_type, index.insert_dataset(ds, name="points"))


WAYS = ("write_samples", "write_shards", "other shards", "insert_dataset")


@settings(max_examples=40)
@given(
    count=st.integers(1, 20),
    maxcount=st.integers(1, 8),
    ranks=st.none() | st.tuples(st.integers(1, 5), st.integers(0, 4)),
    even=st.sampled_from((None, "drop", "pad")),
    steps=st.lists(st.sampled_from(sorted(STEPS)), max_size=3),
    split_at=st.integers(0, 3),
    way=st.sampled_from(WAYS),
)
def test_what_one_iterates_is_what_is_written(
    count: int,
    maxcount: int,
    ranks: tuple[int, int] | None,
    even: Any,
    steps: list[str],
    split_at: int,
    way: str,
) -> None:
    """Of any chain of steps, and of any rank's part, by any way."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        ds: Any = points(folder, count, maxcount)
        for place, step in enumerate([*steps, None]):
            if ranks is not None and place == min(split_at, len(steps)):
                ds = ds.split(ranks[1] % ranks[0], ranks[0], even=even)
            ds = STEPS[step](ds) if step else ds
        expected = [sample.packed for sample in ds]
        assert [packed.payload for packed in ds.packed()] == expected
        if not expected:
            with pytest.raises(NoDataUrlsError):
                written(ds, folder, way)
            return
        assert [sample.packed for sample in written(ds, folder, way)] == expected


def test_parts_are_divided_as_their_shards_are(tmp_path: Path) -> None:
    """A rank's part keeps keys, and new shards begin where the old ones do."""
    part = points(tmp_path, 20, 5).split(1, 3)
    found = [(packed.key, packed.shard) for packed in part.packed()]
    keys = [f"{number:09}" for number in range(7, 14)]
    assert found == list(zip(keys, [1] * 3 + [2] * 4, strict=True))
    urls = DiskDataStore(tmp_path / "store").write_shards(part, prefix="p")
    assert [shard.samples for shard in urls.shards] == [3, 4]


def test_an_index_without_a_store_takes_no_part(tmp_path: Path) -> None:
    """Its shards hold the whole: recorded as the part, they would be read in full."""
    part = points(tmp_path, 20, 5).split(0, 2)
    assert not part.is_plain
    with LocalIndex(tmp_path / "index.db") as index:
        for insert in (index.insert_dataset, index.add_entry):
            with pytest.raises(OptionError, match="a rank's part"):
                insert(part, name="half")
        assert list(index.list_datasets()) == []


def test_a_part_of_one_rank_is_the_whole(tmp_path: Path) -> None:
    """Where there is one rank, nothing is left out, and an index records the shards."""
    whole = points(tmp_path, 20, 5).split(0, 1)
    with LocalIndex(tmp_path / "index.db") as index:
        assert len(index.insert_dataset(whole, name="whole").shards) == 4
