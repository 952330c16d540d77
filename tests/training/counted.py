"""Datasets of any numbers of samples in each shard, made once."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

import atdata
from atdata import Dataset, write_samples


@atdata.packable
class Item:
    number: int
    data: NDArray[np.uint8]


@cache
def dataset_of(counts: tuple[int, ...]) -> Dataset[Item]:
    """Shards with so many samples each; numbers go through all of them."""
    folder = Path(mkdtemp(prefix="atdata-test-"))
    first, paths = 0, []
    for shard, count in enumerate(counts):
        items = [Item(first + i, np.zeros(i % 3, np.uint8)) for i in range(count)]
        paths.append(Path(write_samples(items, folder / f"{shard}.tar").shard_list[0]))
        first += count
    return Dataset[Item](paths)


COUNTS = st.lists(st.integers(1, 23), min_size=1, max_size=4).map(tuple)


def numbers(reading: Any) -> list[int]:
    return [item.number for item in reading]
