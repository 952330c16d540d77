"""Results as tables for a terminal and for ``docs/benchmarks.md``: the same Markdown."""

from __future__ import annotations

import os
import platform
import statistics
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bench.contender import BATCH_SIZE, Measure
from bench.run import MEMORY_WORKLOAD, Results
from bench.workloads import SHARDS, WORKLOADS

TITLES: Final[dict[Measure, str]] = {
    "write": "Write, one by one",
    "each": "Read, one by one",
    "batches": f"Read in batches of {BATCH_SIZE}",
    "shuffled": f"Read in shuffled batches of {BATCH_SIZE}",
}
BASE: Final = "peer"


def tables(results: Results) -> str:
    """A table for each measure, and one for imports and memory."""
    measured = dict.fromkeys(workload for workload, _, _ in results.seconds)
    parts = [_measure(results, measure, list(measured)) for measure in TITLES]
    return "\n\n".join([*parts, _once(results)])


def _measure(results: Results, measure: Measure, workloads: list[str]) -> str:
    rows = []
    for contender in results.contenders:
        cells = []
        for workload in workloads:
            rate = results.rate(workload, measure, contender.name)
            ratio = results.ratio(workload, measure, contender.name, BASE)
            times = "" if ratio is None or contender.name == BASE else f" ({_times(ratio)})"
            cells.append("–" if rate is None else f"{_rate(rate)}{times}")
        if set(cells) != {"–"}:
            rows.append([contender.name, *cells])
    return f"## {TITLES[measure]}\n\n" + _table(["samples/s (× the peer)", *workloads], rows)


def _once(results: Results) -> str:
    rows = []
    for contender in results.contenders:
        name = contender.name
        if name not in results.imports and name not in results.memory:
            continue
        seconds, peak = results.imports.get(name), results.memory.get(name)
        imported = f"{statistics.median(seconds) * 1000:.0f} ms" if seconds else "–"
        rows.append([name, imported, f"{peak / 1e6:.0f} MB" if peak else "–"])
    head = ["", "import, beyond numpy", f"peak memory, batches of {MEMORY_WORKLOAD}"]
    return "## Import and memory\n\n" + _table(head, rows)


def document(results: Results) -> str:
    """The whole of ``docs/benchmarks.md``."""
    scale = results.scale
    workloads = [
        [name, f"`{workload.title}`", f"{scale.samples[name]:,}"]
        for name, workload in WORKLOADS.items()
    ]
    versions = [
        [name, ", ".join(f"{package} {version}" for package, version in found.items())]
        for name, found in results.versions.items()
        if any(c.package for c in results.contenders if c.name == name)
    ]
    missing = [f"- {name} was not measured: {why}" for name, why in results.missing.items()]
    return "\n\n".join(
        [
            "# Benchmarks",
            f"Written by `make bench` on {datetime.now(UTC):%Y-%m-%d}; `make bench-quick` prints "
            "the same tables in under two minutes. Figures of another machine differ; the ratios "
            "travel better.",
            _how(results),
            "\n".join([_table(["", "one sample", "samples"], workloads), *missing]),
            tables(results),
            "## Machine and versions\n\n"
            + machine(results)
            + "\n\n"
            + _table(["", "versions"], versions),
        ]
    )


def _how(results: Results) -> str:
    return f"""\
All contenders write and read the same samples in one run, each in a process and an environment
of its own, taking turns; {results.scale.rounds} rounds. A figure is the median of the rounds, a
ratio the median of the ratios of each round. Before anything is measured, every way of reading
is checked to give exactly the samples that were written.

- A dataset is {SHARDS} shards of a contender's own format, in files that the system has in memory.
  "The peer" is the package of the same name on PyPI.
- Reading counts when every field is there: arrays as NumPy arrays (in batches stacked where the
  shapes agree), the rest as Python values. The arrays of datasets and lance are views of what
  they read, all others own their memory.
- This package waits for the disk when it writes (fsync) and records a SHA-256 of each shard;
  the peer and webdataset do neither. "Synced" adds the first to the peer.
- datasets, lance and "atdata, columns" are given all samples at once, everyone else one by one.
- webdataset is used in two ways: arrays as `.npy` members beside one of JSON, and whole samples
  pickled.
- Shuffling: the default of each; a buffer of 10,000 samples for the peer and for webdataset, a
  permutation of all samples for this package, datasets, lance and memcpy.
- Import: time of `import` in a new process that has imported numpy; this package loads what a
  name needs when it is first used. Memory: the most memory of
  its own (mapped files not counted) of a new process that imports and reads."""


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


def _times(ratio: float) -> str:
    return f"× {_three(ratio)}"


def _three(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _table(head: list[str], rows: list[list[str]]) -> str:
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in [head, ["-" * width for width in widths], *rows]
    ]
    return "\n".join(lines)
