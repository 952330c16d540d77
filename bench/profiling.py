"""``python -m bench.profiling "atdata, columns" F``: where the time of writing goes.

``python -m bench.profiling atdata E batches`` does the same of reading. Passes of one contender in
this process, under Python's profiler; of threads, only the one that calls is seen (with
Python 3.11). Milliseconds of a pass.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import shutil
import tempfile
from collections import deque
from pathlib import Path
from typing import Final

from bench.contender import Contender, contenders
from bench.run import FULL, SCRATCH
from bench.workloads import WORKLOADS, Workload

PASSES: Final = 10
SHOWN: Final = 24
MEASURES: Final = ("write", "each", "batches", "shuffled")


def main() -> None:
    """Print the functions that take most of the time, their own and with what they call."""
    parser = argparse.ArgumentParser(prog="python -m bench.profiling", description=__doc__)
    parser.add_argument(
        "contender", choices=[n for n, c in contenders().items() if "write" in c.measures]
    )
    parser.add_argument("workload", choices=list(WORKLOADS))
    parser.add_argument("measure", choices=MEASURES, nargs="?", default="write")
    arguments = parser.parse_args()
    made, workload = contenders()[arguments.contender], WORKLOADS[arguments.workload]
    SCRATCH.mkdir(parents=True, exist_ok=True)
    profile = cProfile.Profile()
    (_written if arguments.measure == "write" else _read)(
        profile, made, workload, arguments.measure
    )
    rows = []
    for (file, line, name), (_, calls, own, whole, _) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        where = name if file == "~" else f"{Path(file).name}:{line} {name}"
        rows.append((own / PASSES * 1e3, whole / PASSES * 1e3, calls // PASSES, where))
    print(f"{'own ms':>8} {'whole ms':>8} {'calls':>7}")
    for own, whole, calls, where in sorted(rows, reverse=True)[:SHOWN]:
        print(f"{own:8.2f} {whole:8.2f} {calls:7,}  {where}")
    count = FULL.samples[workload.name]
    print(f"{sum(row[0] for row in rows):8.2f} in all, of {count:,} samples")


def _written(profile: cProfile.Profile, made: Contender, workload: Workload, _: str) -> None:
    samples = made.samples(workload, workload.rows(FULL.samples[workload.name]))
    for number in range(PASSES + 1):
        folder = Path(tempfile.mkdtemp(dir=SCRATCH))
        if number:
            profile.enable()
        made.write(workload, samples, folder)
        profile.disable()
        shutil.rmtree(folder)


def _read(profile: cProfile.Profile, made: Contender, workload: Workload, measure: str) -> None:
    rows = workload.rows(FULL.samples[workload.name])
    with tempfile.TemporaryDirectory(dir=SCRATCH) as name:
        folder = Path(name)
        made.write(workload, made.samples(workload, rows), folder)
        made.open(workload, rows, folder)
        for number in range(PASSES + 1):
            if number:
                profile.enable()
            deque(getattr(made, measure)(workload, folder), maxlen=0)
            profile.disable()


if __name__ == "__main__":
    main()
