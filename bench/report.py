"""Results as tables for a terminal and for ``docs/benchmarks.md``: the same Markdown."""

from __future__ import annotations

import os
import platform
import statistics
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bench.contender import BATCH_SIZE, BEFORE, WORKERS, Measure
from bench.run import FIRST_WORKLOAD, MEMORY_WORKLOAD, READING, Results
from bench.workloads import SHARDS, WORKLOADS

TITLES: Final[dict[Measure, str]] = {
    "write": "Write, one by one",
    "each": "Read, one by one",
    "batches": f"Read in batches of {BATCH_SIZE}",
    "shuffled": f"Read in shuffled batches of {BATCH_SIZE}",
    "random": f"Random access: {BATCH_SIZE} samples by their positions",
    "loader": f"PyTorch: shuffled batches of {BATCH_SIZE} from a loader with {WORKERS} processes",
}
BASES: Final = ("peer", "webdataset")
LIMITS: Final = {
    "limit: memcpy of the data": "memcpy of the data",
    "limit: memcpy of the shards": "of the shards",
}
"""Contenders of whose rates a share is told, and how that is called."""
NATIVE: Final = "limit: the same in C"
"""How the names begin of what a native core would bring; else they are those of this package."""


def tables(results: Results) -> str:
    """A table for each measure, one for what a native core would bring, for starts, for memory."""
    measured = dict.fromkeys(workload for workload, _, _ in results.rates)
    parts = [_measure(results, measure, list(measured)) for measure in TITLES]
    parts += [_native(results, list(measured)), _starts(results), _memory(results)]
    return "\n\n".join(part for part in parts if part)


def _measure(results: Results, measure: Measure, workloads: list[str]) -> str:
    there = {name for _, found, name in results.rates if found == measure}
    base = next((name for name in BASES if name in there), "")
    rows = []
    compares = any(name.startswith(BEFORE) for name in there)
    for contender in results.contenders:
        if contender.name in there:
            base = BEFORE + contender.name if compares else base
            cells = [_cell(results, w, measure, contender.name, base) for w in workloads]
            rows.append([contender.name, *cells])
    compared = [f"× {'the ' * (base == 'peer')}{base}"] if base else []
    compared = ["× before"] if compares else compared
    shares = [words for name, words in LIMITS.items() if name in there]
    compared += [f"% of {', '.join(shares)}"] if shares else []
    unit = f"samples/s ({', '.join(compared)})" if compared else "samples/s"
    return f"## {TITLES[measure]}\n\n" + _table([unit, *workloads], rows) if rows else ""


def _cell(results: Results, workload: str, measure: Measure, name: str, base: str) -> str:
    rate = results.rate(workload, measure, name)
    if rate is None:
        return "–"
    compared = []
    ratio = results.ratio(workload, measure, name, base)
    if ratio is not None and name != base:
        compared.append(f"× {_three(ratio)}")
    shares = []
    for limit in LIMITS:
        share = results.ratio(workload, measure, name, limit)
        if share is not None:
            shares.append("–" if name == limit else f"{_three(100 * share)} %")
    compared += shares if shares != ["–"] else []
    return _rate(rate) + (f" ({', '.join(compared)})" if compared else "")


def _native(results: Results, workloads: list[str]) -> str:
    rows = []
    for measure in TITLES:
        for made in results.contenders:
            name = made.name.replace(NATIVE, "atdata")
            ratios = [results.ratio(w, measure, made.name, name) for w in workloads]
            if name != made.name and any(ratios):
                cells = [f"× {_three(ratio)}" if ratio else "–" for ratio in ratios]
                rows.append([name.replace("atdata", measure), *cells])
    if not rows:
        return ""
    return "## The same in C, × this package\n\n" + _table(["", *workloads], rows)


def _starts(results: Results) -> str:
    rows = []
    for contender in results.contenders:
        name = contender.name
        found = [
            results.imports.get(name),
            results.firsts.get((name, "batches")),
            results.firsts.get((name, "shuffled")),
        ]
        if any(found):
            rows.append([name, *(_milliseconds(seconds) for seconds in found)])
    head = ["", "import, beyond numpy", "first batch, in order", "first batch, shuffled"]
    return f"## Import, and first batch of {FIRST_WORKLOAD}\n\n" + _table(head, rows)


def _milliseconds(seconds: list[float] | None) -> str:
    return f"{_three(statistics.median(seconds) * 1000)} ms" if seconds else "–"


def _memory(results: Results) -> str:
    rows = []
    for contender in results.contenders:
        found = [results.memory.get((contender.name, measure)) for measure in READING]
        if any(found):
            rows.append([contender.name, *(f"{n / 1e6:.0f} MB" if n else "–" for n in found)])
    head = ["", "in order", "shuffled"]
    return f"## Peak memory, batches of {MEMORY_WORKLOAD}\n\n" + _table(head, rows) if rows else ""


def document(results: Results) -> str:
    """The whole of ``docs/benchmarks.md``."""
    scale = results.scale
    workloads = [
        [name, f"`{workload.title}`", f"{scale.samples[name]:,}"]
        for name, workload in WORKLOADS.items()
    ]
    versions = [
        [name, _versions(found)]
        for name, found in results.versions.items()
        if any(c.imports for c in results.contenders if c.name == name)
    ]
    versions += [[f"{name}, loader", _versions(found)] for name, found in results.loading.items()]
    missing = [f"- Not measured: {name}. {why}" for name, why in results.missing.items()]
    sizes = "\n".join([_table(["", "one sample", "samples"], workloads), "", _parts(results)])
    machine_and_versions = [machine(results), *missing, _table(["", "versions"], versions)]
    return "\n\n".join(
        [
            "# Benchmarks",
            f"Written by `make bench` on {datetime.now(UTC):%Y-%m-%d}; `make bench-quick` prints "
            "such tables in under two minutes, without the packages that take long. "
            '`TORCH="torch --index-url …"` takes another build of torch. Figures of another '
            "machine differ; the ratios travel better.",
            _HOW.format(rounds=scale.rounds),
            sizes,
            tables(results),
            "## Machine and versions",
            *machine_and_versions,
        ]
    )


def _parts(results: Results) -> str:
    parts: dict[str, list[str]] = {}
    for made in results.contenders:
        for part, sort in ((made.part, "small"), (made.large_part, "large")):
            if part > 1:
                parts.setdefault(f"one in {part} of the {sort} samples", []).append(made.name)
    told = [f"{part}: {', '.join(names)}" for part, names in parts.items()]
    return f"Given {'; '.join(told)}. With more of them, one costs no less." if told else ""


def _versions(found: dict[str, str]) -> str:
    return ", ".join(f"{package} {version}" for package, version in found.items())


_HOW: Final = f"""\
All contenders write and read the same samples in one run, each in a process and an environment
of its own, taking turns; {{rounds}} rounds. A figure is the median of the rounds, a
ratio the median of the ratios of each round. Before anything is measured, every way of reading
is checked to give exactly the samples that were written.

- A dataset is {SHARDS} shards of a contender's own format, in files that the system has in memory;
  mosaicml-streaming cuts by bytes, and makes about as many. "The peer" is the package of the same
  name on PyPI.
- Reading counts when every field is there: arrays as NumPy arrays (in batches stacked where the
  shapes agree), the rest as Python values. The arrays of datasets, lance and "atdata, copy=False"
  are views of what they read, and so are single samples of mosaicml-streaming and large ones of
  litdata; all others own their memory.
- This package waits for the disk when it writes (fsync) and records a SHA-256 of each shard;
  nobody else does either. "Not synced" is this package told not to wait, as nobody else does: its
  two rows compare with the peer's. "Synced" is the peer made to wait.
- datasets, lance and the two "atdata, columns" are given all samples at once, everyone else one
  by one.
- "No table": the sample tables beside the shards and in the cache are removed before each pass.
  The peer's shards have none either.
- webdataset is used in two ways: arrays as `.npy` members beside one of JSON, and whole samples
  pickled. mosaicml-streaming is used through its `LocalDataset`, which for files of this machine
  is several times as fast as its `StreamingDataset`; litdata writes through the writer that its
  `optimize()` starts processes for.
- Shuffling: the default of each; a buffer of 10,000 samples for the peer and for webdataset, a
  permutation of all samples for everyone else but litdata, which permutes its shards, and the
  samples within each.
- Random access: of a dataset that is open, {BATCH_SIZE} positions at once where a package takes a
  list, one after the other where it does not (litdata). The peer reads from the beginning up to
  the last of them; webdataset has none.
- Loaders: torch's `DataLoader`, or the package's own over it, with {WORKERS} processes that live
  from epoch to epoch. Whole batches are sent, as tensors; what differs in shape is joined.
  datasets and lance are read from Arrow by a small class of the benchmark: their own classes for
  this fail on None, or make Python numbers of arrays. The peer has no loader, and its shuffled
  pipeline in two processes gives some samples twice and others never.
- Memcpy of the data: the arrays of a batch, copied from where those of all samples lie one behind
  the other to memory that is used again; "to new memory", to what the system gives for each batch.
  Arrays that differ in shape stay joined, int and str are slices of lists. A reader of tars has
  headers and padding between the data. Memcpy of the shards copies those too: for each batch, as
  many bytes of our shards as its samples take there, from a map to memory that is used again.
- Files as bytes: our shards, written with fsync, read 1 MB at a time.
- The same in C: what a native core would bring (`bench/native.c`). As this package does, it
  compares the bytes between the values, verifies headers and copies arrays, on one thread and to
  memory that is used again; Python makes the lists of int, str and arrays, as here. Each shard that
  it writes has a thread. Its samples are checked too, and its shards are ours, byte for byte. Where
  there is no `cc` it is left out.
- Import: the time of the import of what reading needs, in a new process that has imported numpy
  (`from atdata import Dataset, packable`; `import atdata` alone loads next to nothing;
  mosaicml-streaming without torchvision, which it needs for no reading). First batch: from there,
  opening the dataset included. Memory: the most memory of its own (mapped files not counted) of a
  new process that imports and reads."""


def machine(results: Results) -> str:
    """What this machine is, without its name."""
    load = results.load
    rows = [
        ["CPU", f"{_cpu()}, {len(os.sched_getaffinity(0))} cores used"],
        ["memory", f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"],
        ["system", f"{platform.system()} {platform.machine()}"],
        ["load", "{:.1f} at the start, {:.1f} at the end; the benchmark itself is 1".format(*load)],
    ]
    return _table(["", ""], rows)


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def _rate(rate: float) -> str:
    if rate >= 999_500:
        return f"{_three(rate / 1e6)} M"
    return f"{_three(rate / 1e3)} k"


def _three(value: float) -> str:
    places = 0 if value >= 99.95 else 1 if value >= 9.995 else 2 if value >= 0.0995 else 3
    return f"{value:.{places}f}"


def _table(head: list[str], rows: list[list[str]]) -> str:
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in [head, ["-" * width for width in widths], *rows]
    ]
    return "\n".join(lines)
