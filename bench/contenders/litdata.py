"""litdata: chunks of samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.contender import BATCH_SIZE, WORKERS, Contender, in_columns, shard_size
from bench.envs import ANY_PYTHON, Environment
from bench.workloads import SHARDS, Row, Workload

_NONE = np.zeros(0, np.float32)


class LitData(Contender):
    """litdata. All samples of it have the same types: an empty array stands for None."""

    name = "litdata"
    environment = Environment("litdata", ("litdata==0.2.76",), ANY_PYTHON).with_torch()
    loading = environment
    imports = "import litdata"
    versions = ("litdata", "torch", "numpy")
    quick = False
    large_part = 4

    def samples(self, workload: Workload, rows: list[Row]) -> list[Row]:
        names = workload.named("optional")
        return [
            row | {name: _NONE if row[name] is None else row[name] for name in names}
            for row in rows
        ]

    def write(self, workload: Workload, samples: list[Row], folder: Path) -> None:
        # What its optimize() does in processes of its own, which take seconds to start.
        from litdata.streaming.cache import Cache

        cache = Cache(str(folder), chunk_size=shard_size(len(samples), SHARDS))
        for number, sample in enumerate(samples):
            cache[number] = sample
        cache.done()
        cache.merge()

    def each(self, workload: Workload, folder: Path) -> Iterable[Any]:
        samples: Iterable[Any] = self.dataset(workload, folder)
        return samples

    def row(self, workload: Workload, sample: Row) -> Row:
        names = workload.named("optional")
        return sample | {name: sample[name] if len(sample[name]) else None for name in names}

    def batches(self, workload: Workload, folder: Path) -> Iterable[dict[str, Any]]:
        return self._columns(workload, self.dataset(workload, folder))

    def shuffled(self, workload: Workload, folder: Path) -> Iterable[dict[str, Any]]:
        return self._columns(workload, self._shuffling(folder))

    def dataset(self, workload: Workload, folder: Path) -> Any:
        import litdata

        return litdata.StreamingDataset(str(folder))

    def random(
        self, workload: Workload, dataset: Any, positions: NDArray[np.int64]
    ) -> dict[str, Any]:
        rows = [self.row(workload, dataset[position]) for position in positions.tolist()]
        return in_columns(workload, rows)

    def loader(self, workload: Workload, folder: Path) -> Iterable[Any]:
        import litdata

        from bench.tensors import collate

        collated = collate(workload)
        loader: Iterable[Any] = litdata.StreamingDataLoader(
            self._shuffling(folder),
            batch_size=BATCH_SIZE,
            num_workers=WORKERS,
            persistent_workers=True,
            collate_fn=lambda samples: collated([self.row(workload, s) for s in samples]),
        )
        return loader

    def _shuffling(self, folder: Path) -> Any:
        import litdata

        return litdata.StreamingDataset(str(folder), shuffle=True)

    def _columns(self, workload: Workload, dataset: Any) -> Iterator[dict[str, Any]]:
        rows: list[Row] = []
        for sample in dataset:
            rows.append(self.row(workload, sample))
            if len(rows) == BATCH_SIZE:
                yield in_columns(workload, rows)
                rows = []
        if rows:
            yield in_columns(workload, rows)


CONTENDERS = (LitData(),)
