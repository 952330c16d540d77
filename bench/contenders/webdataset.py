"""webdataset: arrays as members and the rest as JSON; or the whole sample pickled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bench.contender import BATCH_SIZE, MEASURES, WORKERS, Contender, shard_size
from bench.envs import WEBDATASET
from bench.workloads import SHARDS, Row, Workload


class Webdataset(Contender):
    """webdataset with a member for each array, and one of JSON for the other fields."""

    name = "webdataset"
    environment = WEBDATASET
    loading = WEBDATASET.with_torch()
    imports: ClassVar[str | None] = "import webdataset"
    versions = ("webdataset", "numpy")
    part = 8
    measures = frozenset(MEASURES) - {"random"}

    def write(self, workload: Workload, samples: list[Row], folder: Path) -> None:
        import webdataset

        pattern, size = str(folder / "data-%06d.tar"), shard_size(len(samples), SHARDS)
        with webdataset.ShardWriter(pattern, maxcount=size, verbose=0) as sink:
            for number, row in enumerate(samples):
                sink.write({"__key__": f"{number:09d}", **self._members(row)})

    def each(self, workload: Workload, folder: Path) -> Iterable[Any]:
        samples: Iterable[Any] = self._dataset(folder, shuffle=False)
        return samples

    def _members(self, row: Row) -> dict[str, Any]:
        arrays = {name: value for name, value in row.items() if isinstance(value, np.ndarray)}
        others = {name: value for name, value in row.items() if name not in arrays}
        return {"json": others, **{f"{name}.npy": array for name, array in arrays.items()}}

    def row(self, workload: Workload, sample: dict[str, Any]) -> Row:
        arrays = {name: sample.get(f"{name}.npy") for name in workload.kinds}
        return {**arrays, **sample["json"]}

    def batches(self, workload: Workload, folder: Path) -> Iterable[dict[str, Any]]:
        return self._columns(workload, self._dataset(folder, shuffle=False))

    def shuffled(self, workload: Workload, folder: Path) -> Iterable[dict[str, Any]]:
        return self._columns(workload, self._dataset(folder, shuffle=True))

    def loader(self, workload: Workload, folder: Path) -> Iterable[Any]:
        import webdataset

        from bench.tensors import collate

        collated = collate(workload)
        batches = self._dataset(folder, shuffle=True).batched(
            BATCH_SIZE, collation_fn=lambda batch: collated([self.row(workload, s) for s in batch])
        )
        loader: Iterable[Any] = webdataset.WebLoader(
            batches, batch_size=None, num_workers=WORKERS, persistent_workers=True
        )
        return loader

    def _dataset(self, folder: Path, *, shuffle: bool) -> Any:
        import webdataset

        shards = [str(path) for path in sorted(folder.glob("*.tar"))]
        dataset = webdataset.WebDataset(shards, shardshuffle=len(shards) if shuffle else False)
        # The package on PyPI has a buffer of 10,000.
        return (dataset.shuffle(10_000) if shuffle else dataset).decode()

    def _columns(self, workload: Workload, dataset: Any) -> Iterator[dict[str, Any]]:
        stacked = workload.named("array")
        lists = [*workload.named("ragged"), *workload.named("optional")]
        plain = [*workload.named("int"), *workload.named("str")]
        # Its own collation refuses samples that differ in their members.
        for batch in dataset.batched(BATCH_SIZE, collation_fn=None):
            columns: dict[str, Any] = {
                name: np.stack([sample[f"{name}.npy"] for sample in batch]) for name in stacked
            }
            columns |= {name: [sample.get(f"{name}.npy") for sample in batch] for name in lists}
            yield columns | {name: [sample["json"][name] for sample in batch] for name in plain}


class Pickled(Webdataset):
    """webdataset with one pickle a sample: fewer members, but reading runs what it is sent."""

    name = "webdataset, pickled"
    imports = None

    def _members(self, row: Row) -> dict[str, Any]:
        return {"pyd": row}

    def row(self, workload: Workload, sample: dict[str, Any]) -> Row:
        row: Row = sample["pyd"]
        return row

    def _columns(self, workload: Workload, dataset: Any) -> Iterator[dict[str, Any]]:
        stacked = workload.named("array")
        for batch in dataset.batched(BATCH_SIZE, collation_fn=None):
            columns = {name: [sample["pyd"][name] for sample in batch] for name in workload.kinds}
            yield columns | {name: np.stack(columns[name]) for name in stacked}


CONTENDERS = (Webdataset(), Pickled())
