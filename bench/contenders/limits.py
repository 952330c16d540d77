"""What the machine can do: copying the data, files as bytes, msgpack without the rest."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.contender import BATCH_SIZE, Contender
from bench.envs import OURS
from bench.workloads import Row, Workload


class Memcpy(Contender):
    """The data copied from memory to memory, a batch at a time; other fields are list slices."""

    name = "limit: memcpy of the data"
    environment = OURS
    reads = "atdata"
    limit = True
    measures = frozenset({"each", "batches", "shuffled", "random"})

    def open(self, workload: Workload, rows: list[Row], folder: Path) -> None:
        self._count = len(rows)
        self._columns: dict[str, Any] = {
            name: [row[name] for row in rows] for name in workload.kinds
        }
        self._batch: dict[str, Any] = {}
        for name in workload.named("array"):
            self._columns[name] = np.stack(self._columns[name])
            self._batch[name] = self._columns[name][:BATCH_SIZE].copy()
        self._flat, self._ends = {}, {}
        for name in (*workload.named("ragged"), *workload.named("optional")):
            arrays = [np.zeros(0, np.float32) if a is None else a for a in self._columns[name]]
            self._flat[name] = np.concatenate(arrays)
            self._ends[name] = np.cumsum([0, *map(len, arrays)])

    def each(self, workload: Workload, folder: Path) -> Iterable[Any]:
        names = list(workload.kinds)
        for values in zip(*self._columns.values(), strict=True):
            copies = [v.copy() if isinstance(v, np.ndarray) else v for v in values]
            yield dict(zip(names, copies, strict=True))

    def row(self, workload: Workload, sample: Row) -> Row:
        return sample

    def batches(self, workload: Workload, folder: Path) -> Iterator[dict[str, Any]]:
        for start in range(0, self._count, BATCH_SIZE):
            part = slice(start, min(start + BATCH_SIZE, self._count))
            yield {name: self._part(name, part) for name in self._columns}

    def shuffled(self, workload: Workload, folder: Path) -> Iterator[dict[str, Any]]:
        order = np.random.default_rng().permutation(self._count)
        for start in range(0, self._count, BATCH_SIZE):
            yield self.random(workload, None, order[start : start + BATCH_SIZE])

    def dataset(self, workload: Workload, folder: Path) -> None:
        return None

    def random(
        self, workload: Workload, dataset: None, positions: NDArray[np.int64]
    ) -> dict[str, Any]:
        return {
            # "clip": the only mode in which NumPy takes straight to where it is told.
            name: np.take(column, positions, 0, self._room(name, len(positions)), "clip")
            if isinstance(column, np.ndarray)
            else [column[i] for i in positions]
            for name, column in self._columns.items()
        }

    def _room(self, name: str, count: int) -> Any:
        return self._batch[name][:count]

    def _part(self, name: str, part: slice) -> Any:
        if name in self._batch:
            room = self._room(name, part.stop - part.start)
            np.copyto(room, self._columns[name][part])
            return room
        found, ends = self._columns[name][part], self._ends.get(name)
        if ends is None:
            return found
        copied = self._flat[name][ends[part.start] : ends[part.stop]].copy()
        cuts = ends[part.start : part.stop + 1] - ends[part.start]
        return [
            None if value is None else copied[a:b]
            for value, (a, b) in zip(found, pairwise(cuts), strict=True)
        ]


class MemcpyToNew(Memcpy):
    """The same to memory that the system gives for each batch."""

    name = "limit: memcpy to new memory"
    measures = frozenset({"batches", "shuffled", "random"})

    def _room(self, name: str, count: int) -> Any:
        return np.empty_like(self._batch[name][:count])


class Files(Contender):
    """The bytes of our shards: written and synced, read in pieces of 1 MB."""

    name = "limit: files as bytes"
    environment = OURS
    reads = "atdata"
    limit = True
    measures = frozenset({"write", "batches"})

    def open(self, workload: Workload, rows: list[Row], folder: Path) -> None:
        self._shards = {path.name: path.read_bytes() for path in folder.glob("*.tar")}

    def write(self, workload: Workload, samples: Any, folder: Path) -> None:
        for name, data in self._shards.items():
            with (folder / name).open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())

    def batches(self, workload: Workload, folder: Path) -> Iterator[dict[str, Any]]:
        piece = bytearray(1 << 20)
        for path in folder.glob("*.tar"):
            with path.open("rb", buffering=0) as file:
                while file.readinto(piece):
                    pass
        return iter(())


class Msgpack(Contender):
    """msgpack alone: payloads in memory to maps and back, arrays left as bytes."""

    name = "limit: msgpack alone"
    environment = OURS
    reads = "atdata"
    limit = True
    measures = frozenset({"write", "each"})

    def open(self, workload: Workload, rows: list[Row], folder: Path) -> None:
        import msgpack

        self._payloads = []
        for path in sorted(folder.glob("*.tar")):
            with tarfile.open(path) as tar:
                self._payloads += [tar.extractfile(member).read() for member in tar]  # type: ignore[union-attr]
        self._maps = [msgpack.unpackb(payload) for payload in self._payloads]

    def write(self, workload: Workload, samples: Any, folder: Path) -> None:
        import msgpack

        for sample in self._maps:
            msgpack.packb(sample)

    def each(self, workload: Workload, folder: Path) -> Iterable[Any]:
        import msgpack

        return map(msgpack.unpackb, self._payloads)


CONTENDERS = (Memcpy(), MemcpyToNew(), Files(), Msgpack())
