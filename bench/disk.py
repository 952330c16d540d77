"""``python -m bench.disk``: how fast the disk and the processor take the bytes of our shards.

No packing, no tar: files of the size of the benchmark's shards, written from memory, in samples
a second. What writes shards, waits for the disk and hashes them cannot be faster than these.
"""

from __future__ import annotations

import hashlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np

from bench.run import FULL, SCRATCH
from bench.workloads import SHARDS

Way: TypeAlias = Callable[[Path, list[bytes]], None]

BYTES: Final = {"F": 1_536, "I": 151_552, "E": 1_024, "V": 2_133}
"""Bytes of a sample in a tar; of V, on average."""
PASSES: Final = 9


def main() -> None:
    """Print the table."""
    SCRATCH.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(SHARDS) as pool:
        ways: dict[str, Way] = {
            "write": partial(_one_by_one, sync=False),
            "write and sync": partial(_one_by_one, sync=True),
            "the same, four at once": partial(_at_once, pool),
            "SHA-256, four at once": partial(_hashed, pool),
        }
        print("| samples/s | " + " | ".join(ways) + " |")
        print("| --- |" + " --- |" * len(ways))
        for workload, size in BYTES.items():
            samples = FULL.samples[workload]
            random = np.random.default_rng(0)
            shards = [random.bytes(samples * size // SHARDS) for _ in range(SHARDS)]
            rates = [f"{samples / _seconds(way, shards) / 1e3:,.0f} k" for way in ways.values()]
            print(f"| {workload} | " + " | ".join(rates) + " |", flush=True)


def _one_by_one(folder: Path, shards: list[bytes], *, sync: bool) -> None:
    for number, data in enumerate(shards):
        _write(folder / str(number), data, sync=sync)


def _at_once(pool: ThreadPoolExecutor, folder: Path, shards: list[bytes]) -> None:
    paths = [folder / str(number) for number in range(len(shards))]
    for written in [
        pool.submit(_write, *pair, sync=True) for pair in zip(paths, shards, strict=True)
    ]:
        written.result()


def _hashed(pool: ThreadPoolExecutor, folder: Path, shards: list[bytes]) -> None:
    list(pool.map(hashlib.sha256, shards))


def _write(path: Path, data: bytes, *, sync: bool) -> None:
    with path.open("wb", buffering=0) as file:
        file.write(data)
        if sync:
            os.fsync(file.fileno())


def _seconds(way: Way, shards: list[bytes]) -> float:
    passes = []
    for _ in range(PASSES):
        with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
            started = time.perf_counter()
            way(Path(folder), shards)
            passes.append(time.perf_counter() - started)
    return statistics.median(passes)


if __name__ == "__main__":
    main()
