"""``python -m bench.profiling atdata E batches``: where the time of reading or writing goes.

Any contender of this package, and the limits; without a measure, ``write``. The files to read are
written by the contender that owns them, in its environment; what reading stores next to them is
removed before each pass. The first passes are timed: how long the calling thread computes and
waits, and what other threads compute meanwhile. As many more run under Python's profiler, which
sees only the calling thread (with Python 3.11), and inflates small calls. Milliseconds of a pass.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import shutil
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count as numbers
from pathlib import Path
from typing import Any, Final, TypeAlias

from bench.contender import Contender, Measure, contenders, positions
from bench.envs import OURS
from bench.processes import Process
from bench.run import FULL, SCRATCH
from bench.workloads import WORKLOADS, Workload

Pass: TypeAlias = Callable[[], object]

PASSES: Final = 10
SHOWN: Final = 24
MEASURES: Final[tuple[Measure, ...]] = ("write", "each", "batches", "shuffled", "random")


def main() -> None:
    """Print how long a pass takes, and the functions that take most of it."""
    own = {name: made for name, made in contenders().items() if made.environment == OURS}
    parser = argparse.ArgumentParser(prog="python -m bench.profiling", description=__doc__)
    parser.add_argument("contender", choices=list(own))
    parser.add_argument("workload", choices=list(WORKLOADS))
    parser.add_argument("measure", choices=MEASURES, nargs="?", default="write")
    arguments = parser.parse_args()
    made, workload = own[arguments.contender], WORKLOADS[arguments.workload]
    measure: Measure = arguments.measure
    if measure not in made.measures:
        can = ", ".join(name for name in MEASURES if name in made.measures)
        parser.error(f"{made.name} is measured in: {can}")
    made.find()
    SCRATCH.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=SCRATCH) as home:
        passes = _passes(made, workload, measure, Path(home))
        next(passes)()
        _show_times([_timed(next(passes)) for _ in range(PASSES)])
        profile = cProfile.Profile()
        for _ in range(PASSES):
            profile.runcall(next(passes))
        _show_functions(profile)
    count = FULL.count(workload.name, made)
    samples = len(positions(count, 0)) if measure == "random" else count
    print(f"a pass is {samples:,} samples")


def _passes(made: Contender, workload: Workload, measure: Measure, home: Path) -> Iterator[Pass]:
    """Endless passes; the work before and after each is done between them."""
    count = FULL.count(workload.name, made)
    rows = workload.rows(count)
    made.ready(workload)
    folder = home
    if made.reads or measure != "write":
        with Process(contenders()[made.reads or made.name]) as writer:
            writer.order("use", workload=workload.name, home=str(home), count=count)
            writer.order("make")
            folder = Path(writer.order("prepare", count=count))
        made.open(workload, rows, folder)
    if measure == "write":
        samples, target = made.samples(workload, rows), home / "pass"
        while True:
            target.mkdir()
            yield partial(made.write, workload, samples, target)
            shutil.rmtree(target)
    elif measure == "random":
        dataset = made.dataset(workload, folder)
        for number in numbers():
            yield partial(made.random, workload, dataset, positions(count, number))
    else:
        read = getattr(made, measure)
        while True:
            made.forget(folder)
            yield lambda: deque(read(workload, folder), maxlen=0)


def _timed(work: Pass) -> tuple[float, float, float]:
    """Seconds of a pass, those that this thread computes, and those that all threads do."""
    clocks = (time.perf_counter, time.thread_time, time.process_time)
    started = [clock() for clock in clocks]
    work()
    whole, own, every = (clock() - start for clock, start in zip(clocks, started, strict=True))
    return whole, own, every


def _show_times(times: list[tuple[float, float, float]]) -> None:
    parts = [(own, max(0, whole - own), max(0, every - own)) for whole, own, every in times]
    own, waits, others = (statistics.median(part) * 1e3 for part in zip(*parts, strict=True))
    print(f"{own:8.2f} ms computed by the thread that calls")
    print(f"{waits:8.2f} ms that it waited")
    print(f"{others:8.2f} ms computed by other threads meanwhile")


def _show_functions(profile: cProfile.Profile) -> None:
    stats: dict[Any, Any] = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    rows = []
    for (file, line, name), (_, calls, own, whole, _) in stats.items():
        where = name if file == "~" else f"{Path(file).name}:{line} {name}"
        rows.append((own / PASSES * 1e3, whole / PASSES * 1e3, calls // PASSES, where))
    print(f"\n{'own ms':>8} {'whole ms':>8} {'calls':>7}")
    for own, whole, calls, where in sorted(rows, reverse=True)[:SHOWN]:
        print(f"{own:8.2f} {whole:8.2f} {calls:7,}  {where}")
    print(f"{sum(row[0] for row in rows):8.2f} in all")


if __name__ == "__main__":
    main()
