"""``python -m bench.scale``: does a sample cost the same, and memory stay bounded, at any size?"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bench.envs import ROOT

SIZES: Final = (1_000, 10_000, 100_000, 1_000_000)
WAYS: Final = ("write_samples", "write_columns", "batches of 256", "shuffled batches of 256")
_FEW: Final = 300
_AT_LEAST: Final = 0.2
"""Seconds that the passes over few samples fill."""


def main() -> int:
    """Print the table; every figure is of a process of its own."""
    print("| samples of E in one shard | " + " | ".join(WAYS) + " |")
    print("| --- |" + " --- |" * len(WAYS))
    with tempfile.TemporaryDirectory(dir=ROOT / ".cache") as scratch:
        for size in SIZES:
            cells = [_measured(way, size, Path(scratch)) for way in WAYS]
            print(f"| {size:,} | " + " | ".join(cells) + " |", flush=True)
    return 0


def _measured(way: str, size: int, folder: Path) -> str:
    command = [sys.executable, "-m", "bench.scale", way, str(size), str(folder / f"{size}.tar")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    seconds, peak = json.loads(done.stdout)
    return f"{seconds / size * 1e6:.1f} µs, {peak:.0f} MB"


def one(way: str, size: int, path: str) -> None:
    """Measure one way in this process: processor seconds of a pass, and peak memory in MB.

    What a process does once, such as imports, is done before on few samples.
    """
    x = np.zeros((size, 8), np.float32)
    before = _peak()
    with tempfile.TemporaryDirectory(dir=ROOT / ".cache") as scratch:
        warm = f"{scratch}/warm.tar"
        _pass("write_samples", x[:_FEW], warm)
        _pass(way, x[:_FEW], warm)
        seconds: list[float] = []
        while sum(seconds) < _AT_LEAST:
            writes = way.startswith("write") and seconds
            started = time.process_time()
            _pass(way, x, f"{scratch}/{len(seconds)}.tar" if writes else path)
            seconds.append(time.process_time() - started)
    print(json.dumps([statistics.median(seconds), (_peak() - before) / 1e6]))


def _pass(way: str, x: NDArray[np.float32], path: str) -> None:
    import atdata
    from bench.packable import sample_types

    kind: Any = sample_types()["E"]
    if way == "write_samples":
        atdata.write_samples((kind(row, i) for i, row in enumerate(x)), path)
    elif way == "write_columns":
        columns: dict[str, Any] = {"x": x, "label": np.arange(len(x))}
        atdata.write_columns(columns, path, sample_type=kind)
    else:
        dataset = atdata.Dataset[kind](path)
        reading = dataset.ordered(256) if way.startswith("batches") else dataset.shuffled(256)
        for batch in reading:
            assert len(batch.x) == len(batch.label)


def _peak() -> int:
    """The most bytes of its own that this process has had; pages of mapped files count too."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    if len(sys.argv) == 4:
        one(sys.argv[1], int(sys.argv[2]), sys.argv[3])
    else:
        sys.exit(main())
