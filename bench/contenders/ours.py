"""This package: on its own shards, and on the peer's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench.contender import BATCH_SIZE, Contender, shard_size
from bench.envs import OURS
from bench.packable import sample_types
from bench.workloads import SHARDS, Row, Workload


class Ours(Contender):
    """This package."""

    name = "atdata"
    environment = OURS
    package = "atdata"
    versions = ("atdata", "numpy", "msgpack")

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
        return self._columns(workload, self._dataset(workload, folder).ordered(BATCH_SIZE))

    def shuffled(self, workload: Workload, folder: Path) -> Iterable[dict[str, Any]]:
        return self._columns(workload, self._dataset(workload, folder).shuffled(BATCH_SIZE))

    def _dataset(self, workload: Workload, folder: Path) -> Any:
        import atdata

        return atdata.Dataset[sample_types()[workload.name]](sorted(folder.glob("*.tar")))

    def _columns(self, workload: Workload, batches: Iterable[Any]) -> Iterator[dict[str, Any]]:
        lists = {*workload.named("ragged"), *workload.named("optional")}
        for batch in batches:
            yield {
                name: batch.values(name) if name in lists else getattr(batch, name)
                for name in workload.kinds
            }


class OursOnPeer(Ours):
    """This package, reading what the peer wrote."""

    name = "atdata, the peer's shards"
    package = None
    reads = "peer"
    measures = frozenset({"each", "batches", "shuffled"})


class OursColumns(Ours):
    """This package, writing what is there as columns already."""

    name = "atdata, columns"
    package = None
    measures = frozenset({"write"})

    def samples(self, workload: Workload, rows: list[Row]) -> Any:
        columns: dict[str, Any] = {name: [row[name] for row in rows] for name in workload.kinds}
        for name in workload.named("array"):
            columns[name] = np.stack(columns[name])
        for name in workload.named("int"):
            columns[name] = np.array(columns[name])
        return columns

    def write(self, workload: Workload, samples: Any, folder: Path) -> None:
        import atdata

        kind = sample_types()[workload.name]
        size = shard_size(len(next(iter(samples.values()))), SHARDS)
        atdata.write_columns(samples, folder / "data.tar", sample_type=kind, maxcount=size)


CONTENDERS = (Ours(), OursColumns(), OursOnPeer())
