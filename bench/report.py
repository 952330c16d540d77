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
BASES: Final = ("atdata on PyPI", "webdataset")
LIMITS: Final = {
    "limit: memcpy of the data": "memcpy of the data",
    "limit: memcpy of the shards": "of the shards",
}
"""Contenders that rates are a share of, and the name of that share."""
NATIVE: Final = "limit: the same in C"
"""The prefix of names that a native core has; the rest is a name of this package."""


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
    compared = [f"× {base}"] if base else []
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
    notes = [f"{part}: {', '.join(names)}" for part, names in parts.items()]
    return f"Given {'; '.join(notes)}. With more of them, one costs no less." if notes else ""


def _versions(found: dict[str, str]) -> str:
    return ", ".join(f"{package} {version}" for package, version in found.items())


_HOW: Final = f"""\
All contenders write and read the same samples in one run. Each has its own process and
environment, and they take turns; {{rounds}} rounds. A figure is the median of the
rounds, and a ratio the median of the ratios of each round. Before measuring, every way of
reading is checked to give exactly the samples that were written.

- A dataset is {SHARDS} shards in a contender's own format, in files in the page cache;
  mosaicml-streaming cuts by bytes, and writes about as many. "PyPI shards" are shards written by
  the package `atdata` on PyPI, which is another package of the same name.
- A read counts once every field is available: arrays as NumPy arrays (stacked in batches if the
  shapes agree), the rest as Python values. The arrays of datasets, lance and "atdata, copy=False"
  are views of what was read, and so are single samples of mosaicml-streaming and large ones of
  litdata; all others own their memory.
- This package waits for the disk when it writes (fsync) and records a SHA-256 of each shard; no
  other package does either. "Not synced" is this package without fsync: its two rows compare with
  the package on PyPI. "Synced" is the package on PyPI with an fsync added.
- datasets, lance and the two "atdata, columns" receive all samples at once, all others one by one.
- "No table": the sample tables next to the shards and in the cache are removed before each pass.
  PyPI shards have none either.
- webdataset is used in two ways: arrays as `.npy` members with one member of JSON, and whole
  samples pickled. mosaicml-streaming is used through its `LocalDataset`, which for local files is
  several times as fast as its `StreamingDataset`; litdata writes through the writer that its
  `optimize()` starts processes for.
- Shuffling is the default of each package: a buffer of 10,000 samples for the package on PyPI and
  webdataset, shards and the samples in each for litdata, and a permutation of all samples for the
  others.
- Random access: {BATCH_SIZE} positions of an open dataset at once if a package accepts a list, one
  by one if not (litdata). The package on PyPI reads from the start up to the last position;
  webdataset has no random access.
- Loaders: torch's `DataLoader`, or the package's own subclass, with {WORKERS} processes that live
  from epoch to epoch. Whole batches are sent, as tensors; arrays that differ in shape are
  concatenated. datasets and lance are read from Arrow by a small class of the benchmark: their own
  classes for this fail on None, or turn arrays into Python numbers. The package on PyPI has no
  loader, and its shuffled pipeline in two processes repeats some samples and loses others.
- Memcpy of the data: the arrays of a batch, copied from one contiguous array of all samples to
  memory that is reused; "to new memory": to memory that the system allocates for each batch. Arrays
  that differ in shape stay concatenated; int and str are slices of lists. A reader of tars has
  headers and padding between the data. Memcpy of the shards copies those too: for each batch, as
  many bytes of our shards as its samples take there, from a map to memory that is reused.
- Files as bytes: our shards, written with fsync, read 1 MB at a time.
- The same in C: what a native core would bring (`bench/native.c`). Like this package, it compares
  the bytes between the values, verifies headers and copies arrays, on one thread and to memory that
  is reused; Python makes the lists of int, str and arrays, as here. It writes each shard in its own
  thread. Its samples are checked too, and its shards equal ours byte for byte. It is skipped if
  there is no `cc`.
- Import: the time to import what reading needs, in a new process that has imported numpy
  (`from atdata import Dataset, packable`; `import atdata` alone loads almost nothing;
  mosaicml-streaming without torchvision, which reading does not need). First batch: from there,
  including opening the dataset. Memory: the peak private memory (mapped files not counted) of a new
  process that imports and reads."""


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
