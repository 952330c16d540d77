"""The package of the same name on PyPI, at 0.7.0b1."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bench.contender import BATCH_SIZE, MEASURES, Contender, in_columns, shard_size
from bench.envs import PEER
from bench.packable import sample_types
from bench.workloads import SHARDS, Row, Workload


class Peer(Contender):
    """The package ``atdata`` on PyPI."""

    name = "atdata on PyPI"
    environment = PEER
    imports: ClassVar[str | None] = "import atdata"
    versions = ("atdata", "webdataset", "numpy", "msgpack", "ormsgpack")
    part = 4
    # Of its shuffled pipeline in two processes some samples come twice, and others never.
    measures = frozenset(MEASURES) - {"loader"}

    def ready(self, workload: Workload) -> None:
        sample_types()

    def samples(self, workload: Workload, rows: list[Row]) -> list[Any]:
        kind = sample_types()[workload.name]
        return [kind(**row) for row in rows]

    def write(self, workload: Workload, samples: list[Any], folder: Path) -> None:
        import atdata

        size = shard_size(len(samples), SHARDS)
        atdata.write_samples(samples, folder / "data.tar", maxcount=size)

    def each(self, workload: Workload, folder: Path) -> Iterable[Any]:
        samples: Iterable[Any] = self.dataset(workload, folder).ordered()
        return samples

    def batches(self, workload: Workload, folder: Path) -> Iterable[dict[str, Any]]:
        dataset = self.dataset(workload, folder)
        return self._columns(workload, dataset.ordered(batch_size=BATCH_SIZE))

    def shuffled(self, workload: Workload, folder: Path) -> Iterable[dict[str, Any]]:
        dataset = self.dataset(workload, folder)
        return self._columns(workload, dataset.shuffled(batch_size=BATCH_SIZE))

    def dataset(self, workload: Workload, folder: Path) -> Any:
        import atdata

        pattern = f"data-{{000000..{SHARDS - 1:06d}}}.tar"
        kind: Any = sample_types()[workload.name]
        return atdata.Dataset[kind](str(folder / pattern))

    def random(
        self, workload: Workload, dataset: Any, positions: NDArray[np.int64]
    ) -> dict[str, Any]:
        samples = dataset.select(positions.tolist())
        return in_columns(workload, [self.row(workload, sample) for sample in samples])

    def _columns(self, workload: Workload, batches: Iterable[Any]) -> Iterator[dict[str, Any]]:
        # It cannot stack arrays that differ in shape, nor arrays and None: take the samples.
        lists = {*workload.named("ragged"), *workload.named("optional")}
        for batch in batches:
            yield {
                name: [getattr(sample, name) for sample in batch.samples]
                if name in lists
                else getattr(batch, name)
                for name in workload.kinds
            }


class PeerSynced(Peer):
    """The same, waiting for the disk at the end, as this package does."""

    name = "atdata on PyPI, synced"
    imports = None
    measures = frozenset({"write"})

    def write(self, workload: Workload, samples: list[Any], folder: Path) -> None:
        super().write(workload, samples, folder)
        for path in folder.glob("*.tar"):
            with path.open("rb") as file:
                os.fsync(file.fileno())


CONTENDERS = (Peer(), PeerSynced())
