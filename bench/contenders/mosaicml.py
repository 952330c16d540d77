"""mosaicml-streaming: shards of its own format."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.contender import BATCH_SIZE, WORKERS, Contender, in_columns
from bench.envs import ANY_PYTHON, Environment
from bench.workloads import SHARDS, Row, Workload

_SHARD_BYTES = 1 << 26


class Mosaic(Contender):
    """mosaicml-streaming, on files of this machine: its `LocalDataset`.

    Its `StreamingDataset` takes ten times as long over a small sample. It has no None, and no
    empty array: a field that may be None is one of bytes.
    """

    name = "mosaicml-streaming"
    environment = Environment(
        "mosaicml", ("mosaicml-streaming==0.13.0",), ANY_PYTHON, without=("torchvision",)
    ).with_torch()
    loading = environment
    imports = "from bench.contenders.mosaicml import streaming; streaming()"
    versions = ("mosaicml-streaming", "torch", "numpy")
    quick = False
    part = 4

    def ready(self, workload: Workload) -> None:
        streaming()

    def samples(self, workload: Workload, rows: list[Row]) -> list[Row]:
        names = workload.named("optional")
        return [
            row | {name: b"" if row[name] is None else row[name].tobytes() for name in names}
            for row in rows
        ]

    def write(self, workload: Workload, samples: list[Row], folder: Path) -> None:
        # It cuts by bytes, and not by count.
        arrays = [value for value in samples[0].values() if isinstance(value, np.ndarray)]
        size = len(samples) * sum(array.nbytes + 16 for array in arrays) // SHARDS
        writer = streaming().MDSWriter
        with writer(
            out=str(folder), columns=_encodings(workload), size_limit=min(size, _SHARD_BYTES)
        ) as out:
            for sample in samples:
                out.write(sample)

    def each(self, workload: Workload, folder: Path) -> Iterator[Row]:
        dataset = self.dataset(workload, folder)
        for position in range(len(dataset)):
            yield self.row(workload, dataset[position])

    def row(self, workload: Workload, sample: Row) -> Row:
        for name in workload.named("optional"):
            value = sample[name]
            if isinstance(value, bytes):
                sample[name] = np.frombuffer(value, np.float32) if value else None
        return sample

    def batches(self, workload: Workload, folder: Path) -> Iterator[dict[str, Any]]:
        dataset = self.dataset(workload, folder)
        return self._batches(workload, dataset, np.arange(len(dataset)))

    def shuffled(self, workload: Workload, folder: Path) -> Iterator[dict[str, Any]]:
        dataset = self.dataset(workload, folder)
        order = np.random.default_rng().permutation(len(dataset))
        return self._batches(workload, dataset, order)

    def dataset(self, workload: Workload, folder: Path) -> Any:
        return streaming().LocalDataset(str(folder))

    def random(
        self, workload: Workload, dataset: Any, positions: NDArray[np.int64]
    ) -> dict[str, Any]:
        return in_columns(workload, [self.row(workload, row) for row in dataset[positions]])

    def loader(self, workload: Workload, folder: Path) -> Iterable[Any]:
        from torch.utils.data import DataLoader

        from bench.tensors import collate

        collated = collate(workload)
        loader: Iterable[Any] = DataLoader(
            self.dataset(workload, folder),
            batch_size=BATCH_SIZE,
            shuffle=True,
            num_workers=WORKERS,
            persistent_workers=True,
            collate_fn=lambda samples: collated([self.row(workload, s) for s in samples]),
        )
        return loader

    def _batches(
        self, workload: Workload, dataset: Any, order: NDArray[np.int64]
    ) -> Iterator[dict[str, Any]]:
        for start in range(0, len(order), BATCH_SIZE):
            yield self.random(workload, dataset, order[start : start + BATCH_SIZE])


def streaming() -> Any:
    """The package, without torchvision, which it imports for its own sets of pictures alone.

    torchvision has to fit torch to the day; where it does not, nothing could be imported.
    """
    if "streaming" not in sys.modules:
        import transformers  # noqa: F401  # looks for torchvision, too

        names = {"datasets": "VisionDataset", "transforms.functional": "to_tensor"}
        for module, name in names.items():
            for path in ("torchvision", "torchvision.transforms", f"torchvision.{module}"):
                sys.modules.setdefault(path, ModuleType(path))
            setattr(sys.modules[f"torchvision.{module}"], name, type(name, (), {}))
    return importlib.import_module("streaming")


def _encodings(workload: Workload) -> dict[str, str]:
    found = {"ragged": "ndarray:float32", "optional": "bytes", "int": "int", "str": "str"}
    encodings = {name: found.get(kind, "") for name, kind in workload.kinds.items()}
    for name, like in workload.arrays().items():
        encodings[name] = f"ndarray:{like.dtype}:{','.join(map(str, like.shape))}"
    return encodings


CONTENDERS = (Mosaic(),)
