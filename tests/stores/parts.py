"""A sample type and datasets for the tests of stores."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

import atdata


@atdata.packable
@dataclass
class Photo:
    """A small picture."""

    pixels: NDArray[np.uint8]
    label: int


def photos(folder: Path, count: int = 60, *, maxcount: int = 20) -> atdata.Dataset[Photo]:
    """A dataset in a folder."""
    samples = [Photo(pixels=np.full((16, 16), n, np.uint8), label=n) for n in range(count)]
    return atdata.write_samples(samples, folder / "photos", maxcount=maxcount)


class Watched:
    """A source that notes what is read of it."""

    def __init__(self, source: atdata.DataSource) -> None:
        self._source = source
        self.opened: list[str] = []

    @property
    def shard_list(self) -> list[str]:
        """Those of the source."""
        return self._source.shard_list

    def shards(self) -> Iterator[tuple[str, IO[bytes]]]:
        """Those of the source."""
        return ((shard, self.open_shard(shard)) for shard in self.shard_list)

    def open_shard(self, shard_id: str) -> IO[bytes]:
        """Open one, and note it."""
        self.opened.append(shard_id)
        return self._source.open_shard(shard_id)
