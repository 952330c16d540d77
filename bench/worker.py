"""One contender in its own process and environment: takes orders as lines of JSON, answers so.

Orders: ``use`` a workload, ``make`` its samples, ``prepare`` (write the files that are read later),
``check`` (fingerprints of what each way of reading gives), ``measure`` (seconds of each pass).
"""

from __future__ import annotations

import gc
import importlib.metadata
import json
import os
import platform
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from bench.contender import Contender, contenders
from bench.workloads import WORKLOADS, Row, Workload, fingerprints, rows_of

MOST_PASSES: Final = 100


class Worker:
    """The state between orders."""

    workload: Workload
    rows: list[Row]
    samples: Any
    home: Path

    def __init__(self, contender: Contender) -> None:
        self.contender = contender

    def use(self, workload: str, home: str) -> None:
        """Turn to a workload; ``home`` is the folder of its files."""
        self.workload, self.home = WORKLOADS[workload], Path(home)
        self.rows, self.samples = [], None

    def make(self, count: int) -> None:
        """Make its samples."""
        self.rows = self.workload.rows(count)
        self.samples = self.contender.samples(self.workload, self.rows)

    def prepare(self) -> None:
        """Write the files that are read later."""
        self._write(self.home / self.contender.name)

    def open(self) -> None:
        """Get ready to read."""
        self.contender.open(self.workload, self.rows, self._folder)

    def check(self) -> dict[str, list[int]]:
        """Fingerprints of every sample, in order, by way of reading."""
        made, workload, folder = self.contender, self.workload, self._folder
        found: dict[str, list[int]] = {}
        if "each" in made.measures:
            samples = made.each(workload, folder)
            found["each"] = fingerprints(made.row(workload, sample) for sample in samples)
        for name in ("batches", "shuffled"):
            if name in made.measures:
                batches = getattr(made, name)(workload, folder)
                found[name] = [crc for batch in batches for crc in fingerprints(rows_of(batch))]
        return found

    def measure(self, measure: str, at_least: float) -> list[float]:
        """Seconds of each pass, as many passes as fill ``at_least`` seconds."""
        if measure == "write":
            target = self.home / f"{self.contender.name}.pass"
            seconds = _passes(lambda: self._write(target), at_least)
            shutil.rmtree(target)
            return seconds
        read = getattr(self.contender, measure)
        return _passes(lambda: _drained(lambda: read(self.workload, self._folder)), at_least)

    def versions(self) -> dict[str, str]:
        """Versions of what is installed here."""
        found = {name: importlib.metadata.version(name) for name in self.contender.versions}
        return {"python": platform.python_version(), **found}

    @property
    def _folder(self) -> Path:
        return self.home / (self.contender.reads or self.contender.name)

    def _write(self, folder: Path) -> float:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        started = time.perf_counter()
        self.contender.write(self.workload, self.samples, folder)
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
