"""An interpreter that ends in the middle of reading ends without a word."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from atdata import write_samples
from tests.training.items import Blob

ROOT = Path(__file__).resolve().parents[2]
READINGS = """
import sys
import atdata
from tests.training.items import Blob, Item

dataset = atdata.Dataset[Blob](sys.argv[1])
kept = [iter(dataset), dataset.ordered(4), dataset.shuffled(seed=0)]
kept += [dataset.batches(4, shuffle=True), dataset.shuffled(4, seed=0)]
kept += [iter(dataset.ordered(4)), iter(dataset.shuffled(4, seed=0)), iter(dataset.packed())]
for reading in kept:
    next(reading)
try:
    list(atdata.Dataset[Item](sys.argv[1]))
except atdata.errors.AtdataError as error:
    kept.append(error)
"""
LOADERS = """
for workers, persistent in ((0, True), (1, True), (1, False)):
    loader = dataset.to_torch(4, shuffle=True, num_workers=workers, persistent_workers=persistent)
    next(iter(loader))
    kept.append(iter(loader))
    kept.append(next(kept[-1]))
"""


def at_exit(program: str, folder: Path) -> tuple[int, str]:
    """The exit code of a program that leaves things half-read, and what it says in the end."""
    samples = [Blob(np.full(50_000, i % 256, np.uint8), i) for i in range(80)]
    write_samples(samples, folder / "blobs.tar", maxcount=30)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stderr


def test_nothing_is_said_at_exit(tmp_path: Path) -> None:
    """Readings that are half-read, or kept in an error, end with the modules in silence."""
    assert at_exit(READINGS, tmp_path) == (0, "")
