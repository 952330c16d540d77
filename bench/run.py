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

from bench.contender import MEASURES, Contender, Measure, positions
from bench.envs import OURS, ROOT, EnvironmentMissing
from bench.processes import ContenderFailed, PeakMemory, Process, import_seconds
from bench.workloads import WORKLOADS, Workload, fingerprints

SCRATCH: Final = ROOT / ".cache" / "bench"
MEMORY_WORKLOAD: Final = "I"
FIRST_WORKLOAD: Final = "F"
READING: Final[tuple[Measure, ...]] = ("batches", "shuffled")


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    samples: dict[str, int]
    rounds: int
    at_least: float
    """Seconds that one contender's turn fills at least."""
    starts: int
    """New processes for an import, and for a first batch."""
    loaders: bool

    def count(self, workload: str, contender: Contender) -> int:
        """Samples that a contender is given."""
        large = workload == MEMORY_WORKLOAD
        return self.samples[workload] // (contender.large_part if large else contender.part)


FULL: Final = Scale({"F": 40_000, "I": 2_000, "E": 80_000, "V": 40_000}, 4, 0.3, 3, True)
QUICK: Final = Scale({"F": 8_000, "I": 400, "E": 8_000, "V": 8_000}, 3, 0.05, 1, False)


@dataclass
class Results:
    """What was measured."""

    scale: Scale
    contenders: list[Contender]
    rates: dict[tuple[str, Measure, str], list[float]] = field(default_factory=dict)
    """Workload, measure, contender → samples a second, round by round."""
    imports: dict[str, list[float]] = field(default_factory=dict)
    """Contender → seconds beyond numpy, start by start."""
    firsts: dict[tuple[str, Measure], list[float]] = field(default_factory=dict)
    """Contender, measure → seconds to the first batch of `FIRST_WORKLOAD`, start by start."""
    memory: dict[tuple[str, Measure], int] = field(default_factory=dict)
    """Contender, measure → peak bytes of its own while it reads `MEMORY_WORKLOAD`."""
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    loading: dict[str, dict[str, str]] = field(default_factory=dict)
    """The same where it loads for torch."""
    load: list[float] = field(default_factory=list)
    """Processes that wanted to run, a minute's average, at the start and at the end."""
    missing: dict[str, str] = field(default_factory=dict)
    """Contender, or a part of it → why it is missing."""

    def rate(self, workload: str, measure: Measure, name: str) -> float | None:
        """Samples a second, the median of the rounds; None: not measured."""
        rounds = self.rates.get((workload, measure, name))
        return statistics.median(rounds) if rounds else None

    def ratio(self, workload: str, measure: Measure, name: str, other: str) -> float | None:
        """How many times as fast as another: the median of the ratios of each round."""
        mine = self.rates.get((workload, measure, name))
        others = self.rates.get((workload, measure, other))
        if not mine or not others:
            return None
        return statistics.median(a / b for a, b in zip(mine, others, strict=True))


def run(scale: Scale, wanted: list[Contender], workloads: list[str]) -> Results:
    """Measure.

    Raises:
        ContenderFailed: One failed, or read other samples than were written.
    """
    results = Results(scale, [], load=[os.getloadavg()[0]])
    loading = _find_environments(results, wanted)
    SCRATCH.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=SCRATCH) as scratch:
        with _processes(results.contenders, loading) as processes:
            for name in workloads:
                _run_workload(results, WORKLOADS[name], Path(scratch) / name, processes)
        if MEMORY_WORKLOAD in workloads:
            _run_memory(results, Path(scratch) / MEMORY_WORKLOAD)
        if FIRST_WORKLOAD in workloads:
            _run_first(results, Path(scratch) / FIRST_WORKLOAD)
    for number in range(scale.starts):
        say(f"imports: {number + 1} of {scale.starts}")
        for contender in results.contenders:
            if contender.imports:
                results.imports.setdefault(contender.name, []).append(import_seconds(contender))
    say("")
    results.load.append(os.getloadavg()[0])
    return results


def _find_environments(results: Results, wanted: list[Contender]) -> list[Contender]:
    """Note the contenders that can be had; give those of them that can load for torch."""
    for contender in wanted:
        try:
            say(f"environment of {contender.name}")
            contender.environment.python()
            contender.find()
            results.contenders.append(contender)
        except EnvironmentMissing as error:
            results.missing[contender.name] = str(error)
            say(f"without {contender.name}: {error}")
    there = {contender.name for contender in results.contenders}
    results.contenders = [c for c in results.contenders if c.reads is None or c.reads in there]
    loading = []
    for contender in results.contenders:
        if results.scale.loaders and contender.loading and "loader" in contender.measures:
            try:
                say(f"environment of {contender.name} with torch")
                contender.loading.python()
                loading.append(contender)
            except EnvironmentMissing as error:
                results.missing[f"the loader of {contender.name}"] = str(error)
                say(f"without the loader of {contender.name}: {error}")
    return loading


def _run_workload(
    results: Results, workload: Workload, home: Path, processes: list[Process]
) -> None:
    written = fingerprints(workload.rows(results.scale.samples[workload.name]))
    there = _prepared(results, workload, home, processes)
    for process in list(there):
        with _left_out(results, workload, process, there):
            _check(results, workload, process, written)
    for number in range(results.scale.rounds):
        turn = number % len(there)
        turns = there[turn:] + there[:turn]
        for measure in MEASURES:
            say(f"{workload.name}: round {number + 1} of {results.scale.rounds}, {measure}")
            for process in turns:
                if measure in process.measures and process in there:
                    at_least = results.scale.at_least
                    with _left_out(results, workload, process, there):
                        rate = process.order("measure", measure=measure, at_least=at_least)
                        key = (workload.name, measure, process.contender.name)
                        results.rates.setdefault(key, []).append(rate)


@contextmanager
def _left_out(
    results: Results, workload: Workload, process: Process, there: list[Process]
) -> Iterator[None]:
    """Go on without a process that fails, where it is another package's."""
    name = process.contender.name
    try:
        yield
    except ContenderFailed as error:
        if process.contender.environment == OURS:
            raise
        why = str(error).strip().splitlines()[-1]
        say(f"without {name} on {workload.name}: {error}")
        results.missing[f"{name} on {workload.name}, {', '.join(sorted(process.measures))}"] = why
        there.remove(process)
        for measure in process.measures:
            results.rates.pop((workload.name, measure, name), None)


def _prepared(
    results: Results, workload: Workload, home: Path, processes: list[Process]
) -> list[Process]:
    """Have all files written that are read; give the processes that can go on."""
    there = list(processes)
    counts: dict[str, set[int]] = {}
    for process in processes:
        made = process.contender
        count = results.scale.count(workload.name, made)
        with _left_out(results, workload, process, there):
            process.order("use", workload=workload.name, home=str(home), count=count)
        if made.measures != {"write"}:
            counts.setdefault(made.reads or made.name, set()).add(count)
    for process in list(there):
        name = process.contender.name
        if process.measures == {"loader"}:
            continue
        say(f"{workload.name}: {name} gets ready")
        with _left_out(results, workload, process, there):
            process.order("make")
            for count in sorted(counts.get(name, ())):
                process.order("prepare", count=count)
    return there


def _check(results: Results, workload: Workload, process: Process, written: list[int]) -> None:
    """Hold what each way of reading gives against what was written."""
    made = process.contender
    if process.measures == {"loader"}:
        results.loading[made.name] = process.order("versions", torch=True)
    else:
        results.versions[made.name] = process.order("versions")
        process.order("open")
    if not made.gives:
        return
    say(f"{workload.name}: is {made.name} right?")
    if made.like in {contender.name for contender in results.contenders}:
        for name in process.order("differing", like=made.like):
            raise ContenderFailed(f"{made.name} wrote another {name} than {made.like}")
    expected = written[: results.scale.count(workload.name, made)]
    for way, found in process.order("check", measures=sorted(process.measures)).items():
        if way in ("shuffled", "loader"):
            same = sorted(found) == sorted(expected)
        elif way == "random":
            same = found == [expected[i] for i in positions(len(expected), 0)]
        else:
            same = found == expected
        if not same:
            raise ContenderFailed(
                f"{made.name} gave other samples than were written: {workload.name}, {way}"
            )


def _run_memory(results: Results, home: Path) -> None:
    for made, measure in _readers(results, MEMORY_WORKLOAD):
        say(f"memory of {made.name}, {measure}")
        with Process(made) as process:
            count = results.scale.count(MEMORY_WORKLOAD, made)
            process.order("use", workload=MEMORY_WORKLOAD, home=str(home), count=count)
            with PeakMemory(process.pid) as peak:
                process.order("measure", measure=measure, at_least=0.1)
            if peak.bytes is not None:
                results.memory[made.name, measure] = peak.bytes


def _run_first(results: Results, home: Path) -> None:
    for number in range(results.scale.starts):
        say(f"first batches: {number + 1} of {results.scale.starts}")
        for made, measure in _readers(results, FIRST_WORKLOAD):
            with Process(made) as process:
                count = results.scale.count(FIRST_WORKLOAD, made)
                process.order("use", workload=FIRST_WORKLOAD, home=str(home), count=count)
                seconds = process.order("first", measure=measure)
                results.firsts.setdefault((made.name, measure), []).append(seconds)


def _readers(results: Results, workload: str) -> Iterator[tuple[Contender, Measure]]:
    for contender in results.contenders:
        for measure in READING:
            if not contender.limit and (workload, measure, contender.name) in results.rates:
                yield contender, measure


@contextmanager
def _processes(contenders: list[Contender], loading: list[Contender]) -> Iterator[list[Process]]:
    with ExitStack() as running:
        processes = [running.enter_context(Process(made)) for made in contenders]
        processes += [running.enter_context(Process(made, loading=True)) for made in loading]
        yield processes


def say(text: str) -> None:
    """Tell how far it is, on a line that the next one replaces where a terminal shows it."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text} …" if text else "\r\x1b[K", end="", file=sys.stderr, flush=True)
    elif text:
        print(f"{text} …", file=sys.stderr, flush=True)
