"""What the machine can do: copying the data, files as bytes, msgpack without the rest."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench.contender import BATCH_SIZE, Contender
from bench.envs import OURS
from bench.workloads import Row, Workload


class Memcpy(Contender):
    """The data copied from memory to memory, a batch at a time; other fields are list slices."""

    name = "limit: memcpy of the data"
    environment = OURS
    reads = "atdata"
    limit = True
    measures = frozenset({"each", "batches", "shuffled"})

    def open(self, workload: Workload, rows: list[Row], folder: Path) -> None:
        self._count = len(rows)
        self._columns: dict[str, Any] = {
            name: [row[name] for row in rows] for name in workload.kinds
        }
        for name in workload.named("array"):
            self._columns[name] = np.stack(self._columns[name])
        self._flat, self._ends = {}, {}
        for name in (*workload.named("ragged"), *workload.named("optional")):
            arrays = [np.zeros(0, np.float32) if a is None else a for a in self._columns[name]]
            self._flat[name] = np.concatenate(arrays)
            self._ends[name] = np.cumsum([0, *map(len, arrays)])

    def each(self, workload: Workload, folder: Path) -> Iterable[Any]:
        names = list(workload.kinds)
        for values in zip(*self._columns.values(), strict=True):
            yield dict(
                zip(
                    names,
                    [v.copy() if isinstance(v, np.ndarray) else v for v in values],
                    strict=True,
                )
            )

    def row(self, workload: Workload, sample: Row) -> Row:
        return sample

    def batches(self, workload: Workload, folder: Path) -> Iterator[dict[str, Any]]:
        for start in range(0, self._count, BATCH_SIZE):
            part = slice(start, min(start + BATCH_SIZE, self._count))
            yield {name: self._part(name, part) for name in self._columns}

    def shuffled(self, workload: Workload, folder: Path) -> Iterator[dict[str, Any]]:
        order = np.random.default_rng().permutation(self._count)
        for start in range(0, self._count, BATCH_SIZE):
            part = order[start : start + BATCH_SIZE]
            yield {
                name: column[part] if isinstance(column, np.ndarray) else [column[i] for i in part]
                for name, column in self._columns.items()
            }

    def _part(self, name: str, part: slice) -> Any:
        ends = self._ends.get(name)
        if ends is None:
            return self._columns[name][part].copy()
        copied = self._flat[name][ends[part.start] : ends[part.stop]].copy()
        cuts = ends[part.start : part.stop + 1] - ends[part.start]
        found = self._columns[name][part]
        return [
            None if value is None else copied[a:b]
            for value, a, b in zip(found, cuts, cuts[1:], strict=False)
        ]


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


CONTENDERS = (Memcpy(), Files(), Msgpack())
