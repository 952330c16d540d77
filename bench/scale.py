"""``python -m bench.scale``: does a sample cost the same, and memory stay bounded, at any size?"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np

from bench.envs import ROOT

SIZES: Final = (1_000, 10_000, 100_000, 1_000_000)
WAYS: Final = ("write_samples", "write_columns", "batches of 256", "shuffled batches of 256")


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
    """Measure one way in this process: seconds of processor time, and peak memory in MB."""
    import atdata
    from bench.packable import sample_types

    kind: Any = sample_types()["E"]
    x = np.zeros((size, 8), np.float32)
    before = _peak()
    started = time.process_time()
    if way == "write_samples":
        atdata.write_samples((kind(x[i], i) for i in range(size)), path)
    elif way == "write_columns":
        atdata.write_columns({"x": x, "label": np.arange(size)}, path, sample_type=kind)
    else:
        dataset = atdata.Dataset[kind](path)
        reading = dataset.ordered(256) if way.startswith("batches") else dataset.shuffled(256)
        for batch in reading:
            assert len(batch.x) == len(batch.label)
    print(json.dumps([time.process_time() - started, (_peak() - before) / 1e6]))


def _peak() -> int:
    """The most bytes of its own that this process has had; pages of mapped files count too."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    if len(sys.argv) == 4:
        one(sys.argv[1], int(sys.argv[2]), sys.argv[3])
    else:
        sys.exit(main())
