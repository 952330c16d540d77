"""The package of the same name on PyPI, at 0.7.0b1."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from bench.contender import BATCH_SIZE, Contender, shard_size
from bench.envs import PEER
from bench.packable import sample_types
from bench.workloads import SHARDS, Row, Workload


class Peer(Contender):
    """The peer."""

    name = "peer"
    environment = PEER
    package = "atdata"
    versions = ("atdata", "webdataset", "numpy", "msgpack", "ormsgpack")

    def samples(self, workload: Workload, rows: list[Row]) -> list[Any]:
        kind = sample_types()[workload.name]
        return [kind(**row) for row in rows]

    def write(self, workload: Workload, samples: list[Any], folder: Path) -> None:
        import atdata

        size = shard_size(len(samples), SHARDS)
        atdata.write_samples(samples, folder / "data.tar", maxcount=size)

    def each(self, workload: Workload, folder: Path) -> Iterable[Any]:
        return self._dataset(workload, folder).ordered()

    def batches(self, workload: Workload, folder: Path) -> Iterable[dict[str, Any]]:
        dataset = self._dataset(workload, folder)
        return self._columns(workload, dataset.ordered(batch_size=BATCH_SIZE))

    def shuffled(self, workload: Workload, folder: Path) -> Iterable[dict[str, Any]]:
        dataset = self._dataset(workload, folder)
        return self._columns(workload, dataset.shuffled(batch_size=BATCH_SIZE))

    def _dataset(self, workload: Workload, folder: Path) -> Any:
        import atdata

        pattern = f"data-{{000000..{SHARDS - 1:06d}}}.tar"
        return atdata.Dataset[sample_types()[workload.name]](str(folder / pattern))

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
    """The peer, waiting for the disk at the end, as this package does."""

    name = "peer, synced"
    package = None
    measures = frozenset({"write"})

    def write(self, workload: Workload, samples: list[Any], folder: Path) -> None:
        super().write(workload, samples, folder)
        for path in folder.glob("*.tar"):
            with path.open("rb") as file:
                os.fsync(file.fileno())


CONTENDERS = (Peer(), PeerSynced())
