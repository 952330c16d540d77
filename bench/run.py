"""Every contender on every workload, taking turns."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.contender import MEASURES, Contender, Measure
from bench.envs import ROOT, EnvironmentMissing
from bench.processes import ContenderFailed, PeakMemory, Process, import_seconds
from bench.workloads import WORKLOADS, Workload, fingerprints

SCRATCH: Final = ROOT / ".cache" / "bench"
MEMORY_WORKLOAD: Final = "I"


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    samples: dict[str, int]
    rounds: int
    at_least: float
    """Seconds that one contender's turn fills at least."""
    imports: int


FULL: Final = Scale({"F": 10_000, "I": 1_000, "E": 10_000, "V": 10_000}, 5, 0.3, 5)
QUICK: Final = Scale({"F": 1_500, "I": 200, "E": 1_500, "V": 1_500}, 3, 0.05, 3)


@dataclass
class Results:
    """What was measured."""

    scale: Scale
    contenders: list[Contender]
    seconds: dict[tuple[str, Measure, str], list[float]] = field(default_factory=dict)
    """Workload, measure, contender → median seconds of a pass, round by round."""
    imports: dict[str, list[float]] = field(default_factory=dict)
    """Contender → seconds beyond numpy, start by start."""
    memory: dict[str, int] = field(default_factory=dict)
    """Contender → peak bytes of its own while reading batches of `MEMORY_WORKLOAD`."""
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    load: list[float] = field(default_factory=list)
    """Processes that wanted to run, a minute's average, at the start and at the end."""
    missing: dict[str, str] = field(default_factory=dict)
    """Contender → why it is not there."""

    def rate(self, workload: str, measure: Measure, name: str) -> float | None:
        """Samples a second, the median of the rounds; None: not measured."""
        rounds = self.seconds.get((workload, measure, name))
        return self.scale.samples[workload] / statistics.median(rounds) if rounds else None

    def ratio(self, workload: str, measure: Measure, name: str, other: str) -> float | None:
        """How many times as fast as another: the median of the ratios of each round."""
        mine = self.seconds.get((workload, measure, name))
        others = self.seconds.get((workload, measure, other))
        if not mine or not others:
            return None
        return statistics.median(b / a for a, b in zip(mine, others, strict=True))


def run(scale: Scale, wanted: list[Contender], workloads: list[str]) -> Results:
    """Measure.

    Raises:
        ContenderFailed: One failed, or read other samples than were written.
    """
    results = Results(scale, [], load=[os.getloadavg()[0]])
    for contender in wanted:
        try:
            say(f"environment of {contender.name}")
            contender.environment.python()
            results.contenders.append(contender)
        except EnvironmentMissing as error:
            results.missing[contender.name] = str(error)
            say(f"without {contender.name}: {error}")
    there = {contender.name for contender in results.contenders}
    results.contenders = [c for c in results.contenders if c.reads is None or c.reads in there]
    SCRATCH.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=SCRATCH) as scratch:
        with _processes(results.contenders) as processes:
            for name in workloads:
                _run_workload(results, WORKLOADS[name], Path(scratch) / name, processes)
        if MEMORY_WORKLOAD in workloads:
            _run_memory(results, Path(scratch) / MEMORY_WORKLOAD)
    say("imports")
    for _ in range(scale.imports):
        for contender in results.contenders:
            if contender.package:
                results.imports.setdefault(contender.name, []).append(import_seconds(contender))
    say("")
    results.load.append(os.getloadavg()[0])
    return results


def _run_workload(
    results: Results, workload: Workload, home: Path, processes: list[Process]
) -> None:
    _prepare(results, workload, home, processes)
    for number in range(results.scale.rounds):
        turn = number % len(processes)
        turns = processes[turn:] + processes[:turn]
        for measure in MEASURES:
            say(f"{workload.name}: round {number + 1} of {results.scale.rounds}, {measure}")
            for process in turns:
                if measure not in process.contender.measures:
                    continue
                at_least = results.scale.at_least
                passes = process.order("measure", measure=measure, at_least=at_least)
                key = (workload.name, measure, process.contender.name)
                results.seconds.setdefault(key, []).append(statistics.median(passes))


def _prepare(results: Results, workload: Workload, home: Path, processes: list[Process]) -> None:
    count = results.scale.samples[workload.name]
    for process in processes:
        say(f"{workload.name}: {process.contender.name} gets ready")
        process.order("use", workload=workload.name, home=str(home))
        process.order("make", count=count)
        results.versions[process.contender.name] = process.order("versions")
        if process.contender.reads is None and process.contender.measures != {"write"}:
            process.order("prepare")
    expected = fingerprints(workload.rows(count))
    for process in processes:
        process.order("open")
        if process.contender.limit:
            continue
        for way, found in process.order("check").items():
            same = sorted(found) == sorted(expected) if way == "shuffled" else found == expected
            if not same:
                raise ContenderFailed(
                    f"{process.contender.name} gave other samples than were written: "
                    f"{workload.name}, {way}"
                )


def _run_memory(results: Results, home: Path) -> None:
    for contender in results.contenders:
        if contender.limit or "batches" not in contender.measures:
            continue
        with Process(contender) as process:
            process.order("use", workload=MEMORY_WORKLOAD, home=str(home))
            with PeakMemory(process.pid) as peak:
                process.order("measure", measure="batches", at_least=0.1)
            if peak.bytes is not None:
                results.memory[contender.name] = peak.bytes


@contextmanager
def _processes(contenders: list[Contender]) -> Iterator[list[Process]]:
    with ExitStack() as running:
        yield [running.enter_context(Process(contender)) for contender in contenders]


def say(text: str) -> None:
    """Tell how far it is, on a line that the next one replaces where a terminal shows it."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text} …" if text else "\r\x1b[K", end="", file=sys.stderr, flush=True)
    elif text:
        print(f"{text} …", file=sys.stderr, flush=True)
