"""``python -m bench.disk``: how fast the disk and the processor take and give our shards' bytes.

No packing, no tar: files of the size of the benchmark's shards, written from memory and read
into it, in samples a second. What writes and hashes shards, waiting for the disk or not, cannot
be faster than the first table, what copies whole shards out of the page cache not faster than
the second.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np

from bench.run import FULL, SCRATCH
from bench.workloads import SHARDS

Way: TypeAlias = Callable[[Path, list[bytes]], None]
Bytes: TypeAlias = "np.ndarray[Any, np.dtype[np.uint8]]"

BYTES: Final = {"F": 1_536, "I": 151_552, "E": 1_024, "V": 2_133}
"""Bytes of a sample in a tar; of V, on average."""
PASSES: Final = 9
STEP: Final = 8 << 20
"""Bytes that are written, then hashed."""


def main() -> None:
    """Print the table."""
    SCRATCH.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(SHARDS) as pool:
        ways: dict[str, Way] = {
            "write": partial(_one_by_one, sync=False),
            "write and sync": partial(_one_by_one, sync=True),
            "the same, four at once": partial(_at_once, pool, partial(_write, sync=True)),
            "SHA-256, four at once": partial(_hashed, pool),
            "write and SHA-256, four at once": partial(_at_once, pool, _write_and_hash),
        }
        print("| samples/s | " + " | ".join(ways) + " |")
        print("| --- |" + " --- |" * len(ways))
        for workload, size in BYTES.items():
            samples = FULL.samples[workload]
            random = np.random.default_rng(0)
            shards = [random.bytes(samples * size // SHARDS) for _ in range(SHARDS)]
            rates = [f"{samples / _seconds(way, shards) / 1e3:,.0f} k" for way in ways.values()]
            print(f"| {workload} | " + " | ".join(rates) + " |", flush=True)
        _read_all(pool)


def _read_all(pool: ThreadPoolExecutor) -> None:
    ways: dict[str, Callable[[Path, Bytes, Bytes], object]] = {
        "memory to memory": lambda path, given, out: np.copyto(out, given),
        "memory to new memory": lambda path, given, out: given.copy(),
        "out of a fresh map": lambda path, given, out: _out_of_map(path, out),
        "read": lambda path, given, out: _read_part(path, out, 0),
        "read by two threads": lambda path, given, out: _read_halves(pool, path, out),
    }
    print("\n| samples/s | " + " | ".join(ways) + " |")
    print("| --- |" + " --- |" * len(ways))
    for workload, size in BYTES.items():
        samples = FULL.samples[workload] // SHARDS
        given = np.random.default_rng(0).integers(0, 256, samples * size, np.uint8)
        out = np.zeros_like(given)
        with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
            path = Path(folder) / "shard"
            path.write_bytes(given.tobytes())
            rates = []
            for way in ways.values():
                seconds = _median(partial(way, path, given, out))
                rates.append(f"{samples / seconds / 1e3:,.0f} k")
        print(f"| {workload} | " + " | ".join(rates) + " |", flush=True)


def _out_of_map(path: Path, out: Bytes) -> None:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as pages:
        out.data[:] = pages


def _read_part(path: Path, out: Bytes, start: int) -> None:
    view = out.data
    with path.open("rb", buffering=0) as file:
        while view and (count := os.preadv(file.fileno(), [view], start)):
            view, start = view[count:], start + count


def _read_halves(pool: ThreadPoolExecutor, path: Path, out: Bytes) -> None:
    half = len(out) // 2
    first = pool.submit(_read_part, path, out[:half], 0)
    _read_part(path, out[half:], half)
    first.result()


def _one_by_one(folder: Path, shards: list[bytes], *, sync: bool) -> None:
    for number, data in enumerate(shards):
        _write(folder / str(number), data, sync=sync)


def _at_once(
    pool: ThreadPoolExecutor,
    write: Callable[[Path, bytes], None],
    folder: Path,
    shards: list[bytes],
) -> None:
    paths = [folder / str(number) for number in range(len(shards))]
    list(pool.map(write, paths, shards))


def _hashed(pool: ThreadPoolExecutor, folder: Path, shards: list[bytes]) -> None:
    list(pool.map(hashlib.sha256, shards))


def _write(path: Path, data: bytes, *, sync: bool) -> None:
    with path.open("wb", buffering=0) as file:
        file.write(data)
        if sync:
            os.fsync(file.fileno())


def _write_and_hash(path: Path, data: bytes) -> None:
    digest, view = hashlib.sha256(), memoryview(data)
    with path.open("wb", buffering=0) as file:
        for start in range(0, len(data), STEP):
            piece = view[start : start + STEP]
            file.write(piece)
            digest.update(piece)


def _seconds(way: Way, shards: list[bytes]) -> float:
    passes = []
    for _ in range(PASSES):
        with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
            started = time.perf_counter()
            way(Path(folder), shards)
            passes.append(time.perf_counter() - started)
    return statistics.median(passes)


def _median(work: Callable[[], object]) -> float:
    passes = []
    for _ in range(PASSES):
        started = time.perf_counter()
        work()
        passes.append(time.perf_counter() - started)
    return statistics.median(passes)


if __name__ == "__main__":
    main()
