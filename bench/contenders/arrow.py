"""Columns on disk: Hugging Face datasets (Arrow files) and lance."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.contender import BATCH_SIZE, WORKERS, Contender
from bench.envs import ANY_PYTHON, Environment
from bench.workloads import SHARDS, Row, Workload

_TYPES = {"int": "int64", "str": "string"}


class Taken:
    """What a loader of torch takes whole batches from; opened in the process that reads."""

    def __init__(self, contender: Contender, workload: Workload, folder: Path) -> None:
        self._how = (contender, workload, folder)
        dataset = contender.dataset(workload, folder)
        self._count: int = getattr(dataset, "num_rows", None) or dataset.count_rows()
        self._dataset: Any = None

    def __len__(self) -> int:
        return self._count

    def __getitems__(self, positions: list[int]) -> dict[str, Any]:
        contender, workload, folder = self._how
        if self._dataset is None:
            self._dataset = contender.dataset(workload, folder)
        return contender.random(workload, self._dataset, np.array(positions))


class HuggingFace(Contender):
    """Hugging Face datasets: rows in its NumPy format, batches as Arrow tables."""

    name = "datasets"
    environment = Environment("datasets", ("datasets==5.2.0", "numpy>=2"), ANY_PYTHON)
    loading = environment.with_torch()
    imports = "import datasets"
    versions = ("datasets", "pyarrow", "numpy")
    quick = False

    def samples(self, workload: Workload, rows: list[Row]) -> list[Row]:
        return [{name: _flat(value) for name, value in row.items()} for row in rows]

    def write(self, workload: Workload, samples: list[Row], folder: Path) -> None:
        import datasets

        datasets.disable_progress_bars()
        # It infers the types: with given types, an image takes thirty times as long.
        dataset = datasets.Dataset.from_list(samples)
        dataset.save_to_disk(folder / "data", num_shards=SHARDS)

    def each(self, workload: Workload, folder: Path) -> Iterable[Any]:
        arrays = workload.arrays()
        for sample in self.dataset(workload, folder).with_format("numpy"):
            for name, like in arrays.items():
                # Its NumPy format makes int64 of every integer.
                sample[name] = sample[name].reshape(like.shape).astype(like.dtype, copy=False)
            yield sample

    def row(self, workload: Workload, sample: Row) -> Row:
        return sample

    def batches(self, workload: Workload, folder: Path) -> Iterable[dict[str, Any]]:
        return self._columns(workload, self.dataset(workload, folder))

    def shuffled(self, workload: Workload, folder: Path) -> Iterable[dict[str, Any]]:
        return self._columns(workload, self.dataset(workload, folder).shuffle())

    def dataset(self, workload: Workload, folder: Path) -> Any:
        import datasets

        return datasets.load_from_disk(folder / "data")

    def random(
        self, workload: Workload, dataset: Any, positions: NDArray[np.int64]
    ) -> dict[str, Any]:
        taken = dataset.with_format("arrow")[positions]
        return _columns(workload, taken.combine_chunks().to_batches()[0])

    def loader(self, workload: Workload, folder: Path) -> Iterable[Any]:
        from torch.utils.data import DataLoader

        from bench.tensors import from_columns

        # Its format for torch fails on a batch that begins with None, too.
        loader: Iterable[Any] = DataLoader(
            Taken(self, workload, folder),
            batch_size=BATCH_SIZE,
            shuffle=True,
            num_workers=WORKERS,
            persistent_workers=True,
            collate_fn=from_columns(workload),
        )
        return loader

    def _columns(self, workload: Workload, dataset: Any) -> Iterator[dict[str, Any]]:
        # Its NumPy format fails on a batch that begins with None.
        for table in dataset.with_format("arrow").iter(BATCH_SIZE):
            yield _columns(workload, table.combine_chunks().to_batches()[0])


def _flat(value: Any) -> Any:
    return value.reshape(-1) if isinstance(value, np.ndarray) else value


class Lance(Contender):
    """lance, its columns read as NumPy arrays."""

    name = "lance"
    environment = Environment("lance", ("pylance==14.0.2", "numpy>=2"), ANY_PYTHON)
    loading = environment.with_torch()
    imports = "import lance"
    versions = ("pylance", "pyarrow", "numpy")
    quick = False

    def write(self, workload: Workload, samples: list[Row], folder: Path) -> None:
        import lance
        import pyarrow

        schema = pyarrow.schema([(name, _type(samples, name, workload)) for name in workload.kinds])
        reader = pyarrow.RecordBatchReader.from_batches(schema, _chunks(samples, schema))
        size = -(-len(samples) // SHARDS)
        lance.write_dataset(reader, str(folder / "data.lance"), max_rows_per_file=size)

    def each(self, workload: Workload, folder: Path) -> Iterator[Row]:
        for columns in self.batches(workload, folder):
            for values in zip(*columns.values(), strict=True):
                yield dict(zip(columns, values, strict=True))

    def row(self, workload: Workload, sample: Row) -> Row:
        return sample

    def batches(self, workload: Workload, folder: Path) -> Iterator[dict[str, Any]]:
        for batch in self.dataset(workload, folder).to_batches(batch_size=BATCH_SIZE):
            yield _columns(workload, batch)

    def shuffled(self, workload: Workload, folder: Path) -> Iterator[dict[str, Any]]:
        dataset = self.dataset(workload, folder)
        order = np.random.default_rng().permutation(dataset.count_rows())
        for start in range(0, len(order), BATCH_SIZE):
            yield self.random(workload, dataset, order[start : start + BATCH_SIZE])

    def random(
        self, workload: Workload, dataset: Any, positions: NDArray[np.int64]
    ) -> dict[str, Any]:
        return _columns(workload, dataset.take(positions).combine_chunks().to_batches()[0])

    def loader(self, workload: Workload, folder: Path) -> Iterable[Any]:
        from lance.torch.data import get_safe_loader

        from bench.tensors import from_columns

        # Its own dataset for this makes Python numbers of all arrays.
        loader: Iterable[Any] = get_safe_loader(
            Taken(self, workload, folder),
            batch_size=BATCH_SIZE,
            num_workers=WORKERS,
            shuffle=True,
            collate_fn=from_columns(workload),
        )
        return loader

    def dataset(self, workload: Workload, folder: Path) -> Any:
        import lance

        return lance.dataset(str(folder / "data.lance"))


def _columns(workload: Workload, batch: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    arrays = workload.arrays()
    for name, kind in workload.kinds.items():
        column = batch.column(name)
        if kind == "array":
            flat = column.flatten().to_numpy()
            found[name] = flat.reshape(len(column), *arrays[name].shape)
        elif kind in _TYPES:
            found[name] = column.to_pylist()
        else:
            found[name] = [v.values.to_numpy() if v.is_valid else None for v in column]
    return found


def _type(samples: list[Row], name: str, workload: Workload) -> Any:
    import pyarrow

    kind = workload.kinds[name]
    if kind in _TYPES:
        return pyarrow.type_for_alias(_TYPES[kind])
    first = next(row[name] for row in samples if row[name] is not None)
    item = pyarrow.from_numpy_dtype(first.dtype)
    return pyarrow.list_(item, -1 if kind == "ragged" else first.size)


def _chunks(samples: list[Row], schema: Any) -> Iterator[Any]:
    import pyarrow

    for start in range(0, len(samples), 1024):
        part = samples[start : start + 1024]
        columns = []
        for field in schema:
            values = [row[field.name] for row in part]
            columns.append(pyarrow.array(list(map(_flat, values)), field.type))
        yield pyarrow.record_batch(columns, schema=schema)


CONTENDERS = (HuggingFace(), Lance())
