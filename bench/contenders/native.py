"""The same work in C: what a native core would bring, with `bench.native`."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bench import native
from bench.contender import BATCH_SIZE, Contender, shard_size
from bench.contenders.ours import OursColumns
from bench.envs import OURS
from bench.workloads import SHARDS, Row, Workload


class InC(Contender):
    """Shards read by their tables."""

    name = "limit: the same in C"
    environment = OURS
    reads: ClassVar[str | None] = "atdata"
    limit = True
    measures = frozenset({"batches", "shuffled"})

    def find(self) -> None:
        native.library()

    def open(self, workload: Workload, rows: list[Row], folder: Path) -> None:
        for table in folder.glob("*.idx"):
            native.check_table(table)
        start = _shards(folder)[0].open("rb").read(4 * 1024)
        self._reader = native.Reader(workload, rows, npy=b"\x93NUMPY" in start)

    def batches(self, workload: Workload, folder: Path) -> Iterator[dict[str, Any]]:
        shards = native.Tabled(_shards(folder))
        yield from self._reader.batches(shards.rows, np.arange(len(shards.rows)), headers=False)

    def shuffled(self, workload: Workload, folder: Path) -> Iterator[dict[str, Any]]:
        shards = native.Tabled(_shards(folder))
        order = np.random.default_rng().permutation(len(shards.rows))
        yield from self._reader.batches(shards.rows, order, headers=True)


class InCNoTable(InC):
    """Shards whose headers are all verified, without looking for tables."""

    name = "limit: the same in C, no table"
    quick = False

    def batches(self, workload: Workload, folder: Path) -> Iterator[dict[str, Any]]:
        rows, filled = np.empty(BATCH_SIZE, native.ROW), 0
        order = np.arange(BATCH_SIZE)
        scans = [native.Scan(path) for path in _shards(folder)]
        for scan in scans:
            while found := scan.find(rows[filled:]):
                filled += found
                if filled == BATCH_SIZE:
                    yield from self._reader.batches(rows, order, headers=False)
                    filled = 0
        if filled:
            yield from self._reader.batches(rows, order[:filled], headers=False)

    def shuffled(self, workload: Workload, folder: Path) -> Iterator[dict[str, Any]]:
        scans = [native.Scan(path) for path in _shards(folder)]
        rows = np.concatenate([scan.all() for scan in scans])
        order = np.random.default_rng().permutation(len(rows))
        yield from self._reader.batches(rows, order, headers=False)


class InCOnPeer(InCNoTable):
    """The same, on shards of the package on PyPI."""

    name = "limit: the same in C, PyPI shards"
    reads = "atdata on PyPI"
    quick = True


class InCColumns(OursColumns):
    """Columns, written."""

    name = "limit: the same in C, columns"
    limit = True
    quick = False

    def find(self) -> None:
        native.library()

    def write(self, workload: Workload, samples: Any, folder: Path) -> None:
        count = len(next(iter(samples.values())))
        size = shard_size(count, SHARDS)
        write = partial(native.Writer(workload, samples).write, fsync=self.fsync)
        paths = [folder / f"data-{number:06d}.tar" for number in range(SHARDS)]
        rows = [range(start, min(count, start + size)) for start in range(0, count, size)]
        with ThreadPoolExecutor(SHARDS) as crew:
            list(crew.map(write, paths, rows))


class InCColumnsNotSynced(InCColumns):
    """The same without waiting for the disk."""

    name = "limit: the same in C, columns, not synced"
    quick = True
    fsync = False


def _shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.tar"))


CONTENDERS = (InC(), InCNoTable(), InCOnPeer(), InCColumns(), InCColumnsNotSynced())
