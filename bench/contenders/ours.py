"""This package, on its own shards and on shards of the package on PyPI."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bench.contender import BATCH_SIZE, WORKERS, Contender, shard_size
from bench.envs import OURS
from bench.packable import sample_types
from bench.workloads import SHARDS, Row, Workload


class Ours(Contender):
    """This package."""

    name = "atdata"
    environment = OURS
    loading = OURS.with_torch()
    imports: ClassVar[str | None] = "from atdata import Dataset, packable"
    versions = ("atdata", "numpy", "msgpack")
    fsync: ClassVar[bool] = True
    """Whether writing waits for the disk."""

    def ready(self, workload: Workload) -> None:
        from atdata import Dataset  # noqa: F401  # loaded when it is first named

        sample_types()

    def samples(self, workload: Workload, rows: list[Row]) -> list[Any]:
        kind = sample_types()[workload.name]
        return [kind(**row) for row in rows]

    def write(self, workload: Workload, samples: list[Any], folder: Path) -> None:
        import atdata

        size = shard_size(len(samples), SHARDS)
        atdata.write_samples(samples, folder / "data.tar", maxcount=size, fsync=self.fsync)

    def each(self, workload: Workload, folder: Path) -> Iterable[Any]:
        samples: Iterable[Any] = self.dataset(workload, folder).ordered()
        return samples

    def batches(self, workload: Workload, folder: Path) -> Iterable[dict[str, Any]]:
        return self._columns(workload, self.dataset(workload, folder).ordered(BATCH_SIZE))

    def shuffled(self, workload: Workload, folder: Path) -> Iterable[dict[str, Any]]:
        return self._columns(workload, self.dataset(workload, folder).shuffled(BATCH_SIZE))

    def dataset(self, workload: Workload, folder: Path) -> Any:
        import atdata

        os.environ["ATDATA_CACHE_DIR"] = str(self._cache(folder))
        kind: Any = sample_types()[workload.name]
        return atdata.Dataset[kind](sorted(folder.glob("*.tar")))

    def random(
        self, workload: Workload, dataset: Any, positions: NDArray[np.int64]
    ) -> dict[str, Any]:
        return self._batch(workload, dataset[positions])

    def loader(self, workload: Workload, folder: Path) -> Iterable[Any]:
        flat = dict.fromkeys(workload.named("ragged"), "flat")
        loader: Iterable[Any] = self.dataset(workload, folder).to_torch(
            BATCH_SIZE, shuffle=True, num_workers=WORKERS, ragged=flat
        )
        return loader

    def _columns(self, workload: Workload, batches: Iterable[Any]) -> Iterator[dict[str, Any]]:
        return (self._batch(workload, batch) for batch in batches)

    def _batch(self, workload: Workload, batch: Any) -> dict[str, Any]:
        lists = {*workload.named("ragged"), *workload.named("optional")}
        return {
            name: batch.values(name) if name in lists else getattr(batch, name)
            for name in workload.kinds
        }

    def _cache(self, folder: Path) -> Path:
        return folder.with_name(f"{self.name}.cache")


class OursNoTable(Ours):
    """This package, on shards without tables, next to them or in the cache."""

    name = "atdata, no table"
    imports = None
    measures = frozenset({"batches", "shuffled"})

    def forget(self, folder: Path) -> None:
        for table in folder.glob("*.idx"):
            table.unlink()
        shutil.rmtree(self._cache(folder), ignore_errors=True)


class OursViews(Ours):
    """This package, without copies: arrays are read-only views of mapped shards."""

    name = "atdata, copy=False"
    imports = None
    reads = "atdata"
    measures = frozenset({"batches"})

    def batches(self, workload: Workload, folder: Path) -> Iterable[dict[str, Any]]:
        dataset = self.dataset(workload, folder)
        return self._columns(workload, dataset.ordered(BATCH_SIZE, copy=False))


class OursOnPeer(OursNoTable):
    """This package, reading shards of the package on PyPI, which have no tables."""

    name = "atdata, PyPI shards"
    reads = "atdata on PyPI"
    measures = frozenset({"each", "batches", "shuffled"})


class OursNotSynced(Ours):
    """This package, writing without waiting for the disk, as all others do."""

    name = "atdata, not synced"
    imports = None
    measures = frozenset({"write"})
    fsync = False


class OursColumns(Ours):
    """This package, writing data that is in columns already."""

    name = "atdata, columns"
    imports = None
    like = "atdata"
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

        kind: Any = sample_types()[workload.name]
        size = shard_size(len(next(iter(samples.values()))), SHARDS)
        path = folder / "data.tar"
        atdata.write_columns(samples, path, sample_type=kind, maxcount=size, fsync=self.fsync)


class OursColumnsNotSynced(OursColumns):
    """The same without waiting for the disk."""

    name = "atdata, columns, not synced"
    fsync = False


CONTENDERS = (
    Ours(),
    OursViews(),
    OursNoTable(),
    OursNotSynced(),
    OursColumns(),
    OursColumnsNotSynced(),
    OursOnPeer(),
)
