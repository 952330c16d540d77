"""What the machine can do: copying the data, files as bytes, msgpack without the rest."""

from __future__ import annotations

import mmap
import os
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.contender import BATCH_SIZE, Contender
from bench.envs import OURS
from bench.workloads import Row, Workload


class Memcpy(Contender):
    """The data copied from memory to memory, a batch at a time; int and str are list slices.

    The arrays of a field are contiguous, and are copied so: those that differ in
    shape stay joined, as no reader may leave them.
    """

    name = "limit: memcpy of the data"
    environment = OURS
    reads = "atdata"
    limit = True
    gives = False
    measures = frozenset({"each", "batches", "shuffled", "random"})

    def open(self, workload: Workload, rows: list[Row], folder: Path) -> None:
        self._count = len(rows)
        self._columns: dict[str, list[Any]] = {
            name: [row[name] for row in rows] for name in workload.kinds
        }
        self._arrays, self._ends, self._rooms = {}, {}, {}
        for name in workload.named("array"):
            self._arrays[name] = np.stack(self._columns[name])
            self._rooms[name] = np.zeros_like(self._arrays[name][:BATCH_SIZE])
        for name in (*workload.named("ragged"), *workload.named("optional")):
            there = [np.zeros(0, np.float32) if a is None else a for a in self._columns[name]]
            lengths = [len(array) for array in there]
            self._columns[name], self._arrays[name] = there, np.concatenate(there)
            self._ends[name] = np.cumsum([0, *lengths])
            self._rooms[name] = np.zeros(BATCH_SIZE * max(lengths), np.float32)

    def each(self, workload: Workload, folder: Path) -> Iterable[Any]:
        for values in zip(*self._columns.values(), strict=True):
            yield [value.copy() if isinstance(value, np.ndarray) else value for value in values]

    def batches(self, workload: Workload, folder: Path) -> Iterator[dict[str, Any]]:
        for start in range(0, self._count, BATCH_SIZE):
            stop = min(start + BATCH_SIZE, self._count)
            yield {name: self._part(name, start, stop) for name in self._columns}

    def shuffled(self, workload: Workload, folder: Path) -> Iterator[dict[str, Any]]:
        order = np.random.default_rng().permutation(self._count)
        for start in range(0, self._count, BATCH_SIZE):
            yield self.random(workload, None, order[start : start + BATCH_SIZE])

    def dataset(self, workload: Workload, folder: Path) -> None:
        return None

    def random(
        self, workload: Workload, dataset: None, positions: NDArray[np.int64]
    ) -> dict[str, Any]:
        return {name: self._taken(name, positions) for name in self._columns}

    def _part(self, name: str, start: int, stop: int) -> Any:
        if name not in self._arrays:
            return self._columns[name][start:stop]
        if name in self._ends:
            start, stop = self._ends[name][start], self._ends[name][stop]
        room = self._room(name, stop - start)
        np.copyto(room, self._arrays[name][start:stop])
        return room

    def _taken(self, name: str, positions: NDArray[np.int64]) -> Any:
        if name in self._arrays and name not in self._ends:
            room = self._room(name, len(positions))
            # "clip" is the only mode in which NumPy takes directly into out=.
            return np.take(self._arrays[name], positions, 0, room, "clip")
        found = [self._columns[name][i] for i in positions]
        if name not in self._ends:
            return found
        ends = self._ends[name]
        room = self._room(name, int((ends[positions + 1] - ends[positions]).sum()))
        return np.concatenate(found, out=room)

    def _room(self, name: str, count: int) -> Any:
        return self._rooms[name][:count]


class MemcpyToNew(Memcpy):
    """The same to memory that the system gives for each batch."""

    name = "limit: memcpy to new memory"
    quick = False
    measures = frozenset({"batches", "shuffled", "random"})

    def _room(self, name: str, count: int) -> Any:
        return np.empty_like(self._rooms[name][:count])


class MemcpyOfShards(Contender):
    """All bytes of our shards, from a map that stays to memory that is used again.

    A batch is as many bytes as its samples have in a shard: headers and padding too.
    """

    name = "limit: memcpy of the shards"
    environment = OURS
    reads = "atdata"
    limit = True
    gives = False
    measures = frozenset({"batches"})

    def open(self, workload: Workload, rows: list[Row], folder: Path) -> None:
        self._shards = []
        for path in sorted(folder.glob("*.tar")):
            with path.open("rb") as file:
                pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self._shards.append(np.frombuffer(pages, np.uint8))
        self._room = np.zeros(sum(map(len, self._shards)) * BATCH_SIZE // len(rows), np.uint8)

    def batches(self, workload: Workload, folder: Path) -> Iterator[Any]:
        for shard in self._shards:
            for start in range(0, len(shard), len(self._room)):
                piece = shard[start : start + len(self._room)]
                np.copyto(self._room[: len(piece)], piece)
                yield self._room


class Files(Contender):
    """The bytes of our shards: written and synced, read in pieces of 1 MB."""

    name = "limit: files as bytes"
    environment = OURS
    reads = "atdata"
    limit = True
    gives = False
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
    gives = False
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


CONTENDERS = (Memcpy(), MemcpyToNew(), MemcpyOfShards(), Files(), Msgpack())
