"""What reading for training costs: ``python -m bench.training [--gb 10] [--samples 1000000]``.

Prints lines of ``name: value``. Each measurement runs in its own process, over shards that were
written earlier, with a warm page cache. Peak memory is that of the process; the memory it needs
before reading is printed too. If PyTorch is installed, epochs are also read by two workers of its
DataLoader, and the peak is that of the largest worker:
``.venv/bin/python -m bench.training --only workers`` after ``make torch``.
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import atdata
from atdata import Dataset


@atdata.packable
class Small:
    """40 bytes of data, 1 kB in a tar."""

    values: NDArray[np.float32]
    number: int


@atdata.packable
class Image:
    """150 kB."""

    pixels: NDArray[np.uint8]
    number: int


def main() -> None:
    """Write shards, and measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--gb", type=float, default=10.0, help="10**9 bytes of images")
    parser.add_argument("--samples", type=int, default=1_000_000, help="small samples")
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder")
    parser.add_argument("--only", default="", help="measurements with this in their name")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        MEASURES[options.measure](options.folder)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        write(folder, options.samples, int(options.gb * 1e9))
        for measure in (name for name in MEASURES if options.only in name):
            arguments = ["--measure", measure, "--folder", name]
            subprocess.run([sys.executable, "-m", "bench.training", *arguments], check=True)


def write(folder: Path, samples: int, size: int) -> None:
    """Small samples in shards of 100,000, in order of their number; images in shards of 1 GB."""
    values = np.arange(8, dtype=np.float32)
    small = (Small(values, i) for i in range(samples))
    atdata.write_samples(small, folder / "small.tar", maxcount=100_000)
    pixels = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)
    images = (Image(pixels, i) for i in range(size // 151_552))
    atdata.write_samples(images, folder / "images.tar", maxsize=10**9)


def small(folder: Path) -> Dataset[Small]:
    return Dataset[Small](sorted(folder.glob("small-*.tar")))


def images(folder: Path) -> Dataset[Image]:
    return Dataset[Image](sorted(folder.glob("images-*.tar")))


def show(name: str, value: float, unit: str) -> None:
    """Print one figure."""
    print(f"{name}: {value:,.3g} {unit}" if value < 1000 else f"{name}: {value:,.0f} {unit}")


def timed(action: Callable[[], object]) -> float:
    """Milliseconds of one call."""
    start = time.perf_counter()
    action()
    return 1000 * (time.perf_counter() - start)


def length(folder: Path) -> None:
    """len() and one sample of a dataset that was just opened; then more of them."""
    dataset = small(folder)
    show("len, first call", timed(lambda: len(dataset)), "ms")
    count = len(dataset)
    show("len", count, "samples")
    show("ds[i], first call", timed(lambda: dataset[count // 2]), "ms")
    chosen = np.random.default_rng(0).integers(0, count, 1000)
    for i in chosen:
        dataset[int(i)]
    show(
        "ds[i], warm, mean of 1,000", timed(lambda: [dataset[int(i)] for i in chosen]) / 1000, "ms"
    )
    show("ds[[256 positions]], warm", timed(lambda: dataset[chosen[:256]].number), "ms")
    show("by_key, first call", timed(lambda: dataset.by_key(f"{count - 1:09d}")), "ms")
    show("by_key, warm", timed(lambda: dataset.by_key(f"{count - 1:09d}")), "ms")


def first_batch(folder: Path) -> None:
    """From opening to the first batch of 256."""
    show("first batch, in order", timed(lambda: next(small(folder).ordered(256)).number), "ms")
    shuffled = timed(lambda: next(small(folder).shuffled(256, seed=0)).number)
    show("first batch, shuffled", shuffled, "ms")


def quality(folder: Path) -> None:
    """Distinct labels in a batch of 256, of data sorted by 100 labels; by chance 92.4."""
    dataset = small(folder)
    each = len(dataset) // 100

    def distinct(window: int | None) -> float:
        batches = dataset.batches(256, shuffle=True, seed=0, window=window, drop_last=True)
        labels = (len(np.unique(np.asarray(batch["number"]) // each)) for batch in batches)
        return float(np.mean(list(labels)))

    show("distinct labels in a batch of 256, default window", distinct(None), "of 92.4")
    show("distinct labels in a batch of 256, window of 10,000", distinct(10_000), "of 92.4")


def state(folder: Path) -> None:
    """Size of a state, and what resuming costs."""
    import json

    reading = small(folder).split(3, 8).shuffled(256, seed=0)
    for _ in range(min(100, len(small(folder)) // 8 // 256)):
        next(reading)
    saved = reading.state_dict()
    show("state", len(json.dumps(saved)), "bytes")
    again = small(folder).split(3, 8).shuffled(256, seed=0)

    def resume() -> None:
        again.load_state_dict(saved)
        next(again)

    show("resume to the next batch", timed(resume), "ms")


def memory_of(name: str, batches: Callable[[Path], Iterator[object]]) -> Callable[[Path], None]:
    """A measurement of an epoch's speed and of the peak memory of its process."""

    def measure(folder: Path) -> None:
        before = peak()
        count = 0
        start = time.perf_counter()
        for batch in batches(folder):
            count += len(batch)  # type: ignore[arg-type]
        seconds = time.perf_counter() - start
        show(f"{name}, samples", count, "")
        show(f"{name}, speed", count / seconds, "samples/s")
        show(f"{name}, peak memory", peak(), f"MB ({before:.0f} before)")

    return measure


def workers(
    name: str, of: Callable[[Path], Dataset[Any]], batch_size: int, *, shuffle: bool
) -> Callable[[Path], None]:
    """The same of an epoch that workers read."""

    def measure(folder: Path) -> None:
        if importlib.util.find_spec("torch") is None:
            print(f"{name}: not measured without PyTorch")
            return
        loader = of(folder).to_torch(batch_size, shuffle=shuffle, seed=0, num_workers=2)
        before, count, most = peak(), 0, 0.0
        start = time.perf_counter()
        for number, batch in enumerate(loader):
            count += len(batch["number"])
            if number % 50 == 0:
                children = multiprocessing.active_children()
                most = max(most, *(peak(child.pid) for child in children))
        seconds = time.perf_counter() - start
        show(f"{name}, samples", count, "")
        show(f"{name}, speed", count / seconds, "samples/s")
        show(f"{name}, peak memory of a worker", most, f"MB ({before:.0f} before)")

    return measure


def peak(process: int | str | None = "self") -> float:
    """Largest memory of a process so far, shared pages included, in 10**6 bytes.

    Not `getrusage`, whose figure begins with that of the process by which it was started.
    """
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    # A process that has just ended has none.
    return int(found[1]) * 1024 / 1e6 if found else 0.0


MEASURES: dict[str, Callable[[Path], None]] = {
    "length": length,
    "first_batch": first_batch,
    "quality": quality,
    "state": state,
    "images in order": memory_of("images in order", lambda f: images(f).ordered(32)),
    "images shuffled": memory_of("images shuffled", lambda f: images(f).shuffled(32, seed=0)),
    "images by workers, in order": workers(
        "images by 2 workers, in order", images, 32, shuffle=False
    ),
    "images by workers, shuffled": workers(
        "images by 2 workers, shuffled", images, 32, shuffle=True
    ),
    "small by workers, in order": workers(
        "small by 2 workers, in order", small, 256, shuffle=False
    ),
    "small by workers, shuffled": workers("small by 2 workers, shuffled", small, 256, shuffle=True),
    "small in order": memory_of("small in order", lambda f: small(f).ordered(256)),
    "small shuffled": memory_of("small shuffled", lambda f: small(f).shuffled(256, seed=0)),
}

if __name__ == "__main__":
    main()
