"""One contender in its own process and environment: takes orders as lines of JSON, answers so.

Orders: ``use`` a workload, ``make`` its samples, ``prepare`` (write the files that are read later),
``open`` them, ``check`` (fingerprints of what each way of reading gives), ``differing`` (files that
another writes otherwise), ``measure`` (samples a second), ``first`` (seconds to the first batch).
"""

from __future__ import annotations

import filecmp
import gc
import importlib.metadata
import json
import os
import platform
import shutil
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from itertools import count as numbers
from pathlib import Path
from typing import Any, Final

from bench.contender import Contender, Measure, contenders, positions
from bench.workloads import WORKLOADS, Row, Workload, fingerprints, rows_of

MOST_PASSES: Final = 100


class Worker:
    """The state between orders."""

    workload: Workload
    count: int
    rows: list[Row]
    samples: Any
    home: Path
    _dataset: Any
    _loader: Any

    def __init__(self, contender: Contender) -> None:
        self.contender = contender

    def use(self, workload: str, home: str, count: int) -> None:
        """Turn to so many samples of a workload; ``home`` is the folder of its files."""
        gc.unfreeze()
        self.workload, self.home, self.count = WORKLOADS[workload], Path(home), count
        self.rows, self.samples, self._loader, self._dataset = [], None, None, None
        self._requests = numbers()

    def make(self) -> None:
        """Make the samples."""
        self.rows = self.workload.rows(self.count)
        self.samples = self.contender.samples(self.workload, self.rows)

    def prepare(self, count: int) -> str:
        """Write files of so many samples, which are read later; their folder."""
        if count == self.count:
            samples = self.samples
        else:
            samples = self.contender.samples(self.workload, self.workload.rows(count))
        folder = self._files(self.contender.name, count)
        self._write(folder, samples)
        return str(folder)

    def open(self) -> None:
        """Get ready to read."""
        self.contender.open(self.workload, self.rows, self._folder)
        # Users do not have the samples twice: what is here is nothing to the collector.
        gc.collect()
        gc.freeze()

    def check(self, measures: list[Measure]) -> dict[str, list[int]]:
        """Fingerprints of every sample, in order, by way of reading."""
        made, workload, folder = self.contender, self.workload, self._folder
        found: dict[str, list[int]] = {}
        for name in measures:
            made.forget(folder)
            if name == "each":
                samples = made.each(workload, folder)
                found[name] = fingerprints(made.row(workload, sample) for sample in samples)
            elif name == "random":
                batch = made.random(workload, self._opened(), positions(self.count, 0))
                found[name] = fingerprints(rows_of(batch))
            elif name != "write":
                found[name] = [crc for b in self._batches(name) for crc in fingerprints(rows_of(b))]
        return found

    def differing(self, like: str) -> list[str]:
        """Names of files that this contender writes otherwise than another did."""
        own, other = self._pass, self._files(like, self.count)
        self._write(own, self.samples)
        names = {path.name for folder in (own, other) for path in folder.iterdir()}
        _, differing, missing = filecmp.cmpfiles(own, other, sorted(names), shallow=False)
        shutil.rmtree(own)
        return differing + missing

    def _batches(self, measure: Measure) -> Iterator[dict[str, Any]]:
        if measure == "loader":
            for batch in self._loading():
                yield self.contender.loaded(self.workload, batch)
        else:
            yield from getattr(self.contender, measure)(self.workload, self._folder)

    def measure(self, measure: Measure, at_least: float) -> float:
        """Samples a second: the median of as many passes as fill ``at_least`` seconds."""
        count = self.count
        if measure == "write":
            seconds = _passes(lambda: self._write(self._pass, self.samples), at_least)
            shutil.rmtree(self._pass)
        elif measure == "random":
            dataset, count = self._opened(), len(positions(count, 0))
            seconds = _passes(lambda: self._request(dataset), at_least)
        elif measure == "loader":
            seconds = _passes(lambda: _drained(lambda: self._loading()), at_least)
        else:
            read = getattr(self.contender, measure)
            seconds = _passes(lambda: self._read(read), at_least)
        return count / statistics.median(seconds)

    def first(self, measure: Measure) -> float:
        """Seconds from opening the dataset to its first batch."""
        self.contender.ready(self.workload)
        self.contender.forget(self._folder)
        started = time.perf_counter()
        next(iter(getattr(self.contender, measure)(self.workload, self._folder)))
        return time.perf_counter() - started

    def versions(self, torch: bool = False) -> dict[str, str]:
        """Versions of what is installed here."""
        names = dict.fromkeys([*self.contender.versions, *(["torch"] if torch else [])])
        found = {name: importlib.metadata.version(name) for name in names}
        return {"python": platform.python_version(), **found}

    def _files(self, writer: str, count: int) -> Path:
        return self.home / f"{writer}-{count}"

    @property
    def _pass(self) -> Path:
        return self.home / f"{self.contender.name}.pass"

    @property
    def _folder(self) -> Path:
        return self._files(self.contender.reads or self.contender.name, self.count)

    def _opened(self) -> Any:
        if self._dataset is None:
            self._dataset = self.contender.dataset(self.workload, self._folder)
        return self._dataset

    def _loading(self) -> Iterable[Any]:
        # One loader for all epochs, as in training: it may keep its processes.
        if self._loader is None:
            self._loader = self.contender.loader(self.workload, self._folder)
        loader: Iterable[Any] = self._loader
        return loader

    def _request(self, dataset: Any) -> float:
        chosen = positions(self.count, next(self._requests))
        started = time.perf_counter()
        self.contender.random(self.workload, dataset, chosen)
        return time.perf_counter() - started

    def _read(self, read: Callable[[Workload, Path], Iterable[Any]]) -> float:
        self.contender.forget(self._folder)
        return _drained(lambda: read(self.workload, self._folder))

    def _write(self, folder: Path, samples: Any) -> float:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        started = time.perf_counter()
        self.contender.write(self.workload, samples, folder)
        return time.perf_counter() - started


def _passes(run: Callable[[], float], at_least: float) -> list[float]:
    seconds: list[float] = []
    while sum(seconds) < at_least and len(seconds) < MOST_PASSES:
        gc.collect()
        seconds.append(run())
    return seconds


def _drained(read: Callable[[], Iterable[Any]]) -> float:
    started = time.perf_counter()
    for _ in read():
        pass
    return time.perf_counter() - started


def main() -> None:
    """Answer orders until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what packages print must not get among the answers
    worker = Worker(contenders()[sys.argv[1]])
    for line in sys.stdin:
        order = json.loads(line)
        try:
            answer = {"answer": getattr(worker, order.pop("order"))(**order)}
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
