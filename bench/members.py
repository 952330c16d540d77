"""``python -m bench.members``: WebDataset shards of several members a sample, and webdataset.

Shards of a picture, small JSON, text and a label: large, with pictures of 20 to 110 kB, and small,
of 2 kB. Each is written by webdataset, and by this package in both layouts; values are read as
bytes, so that nothing is decoded. Samples a second: the best of some rounds in turns, by the clock
and by the time that the processors spent. webdataset is measured on what it wrote.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import webdataset

import atdata
from atdata import Dataset, Member
from bench.pictures import best, timed

BATCH: Final = 64
SIZES: Final = {"large": (1000, 20_000, 110_000), "small": (20_000, 1500, 2500)}
"""Name of a shard → its samples, and bytes of the smallest and the largest picture."""


@atdata.packable
class Raw:
    jpg: bytes
    json: Annotated[bytes, Member("json")]
    txt: Annotated[bytes, Member("txt")]
    cls: Annotated[bytes, Member("cls")]


def rows(count: int, least: int, most: int) -> Iterator[dict[str, Any]]:
    """Samples as webdataset writes them; the same each time."""
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, 2 * most, np.uint8).tobytes()
    for number in range(count):
        size, start = int(random.integers(least, most)), int(random.integers(0, most))
        yield {
            "__key__": f"{number:08d}",
            "jpg": noise[start : start + size],
            "json": json.dumps({"width": number, "tags": ["a", "b"]}).encode(),
            "txt": f"picture number {number}".encode(),
            "cls": str(number % 1000).encode(),
        }


def write(folder: Path, count: int, least: int, most: int) -> None:
    """The same samples as three shards."""
    with webdataset.TarWriter(str(folder / "webdataset.tar")) as sink:
        for row in rows(count, least, most):
            sink.write(row)
    dataset = Dataset[Raw](folder / "webdataset.tar")
    atdata.write_samples(dataset, folder / "members.tar", layout="members")
    atdata.write_samples(dataset, folder / "msgpack.tar")


def ways(folder: Path) -> dict[str, Callable[[], object]]:
    """What is measured: name → a pass over all samples."""

    def theirs(*, shuffled: bool = False, batched: bool = False) -> Iterable[Any]:
        made: Any = webdataset.WebDataset(str(folder / "webdataset.tar"), shardshuffle=False)
        made = made.shuffle(1000) if shuffled else made
        found: Iterable[Any] = made.batched(BATCH) if batched else made
        return found

    def ours(name: str, read: Callable[[Dataset[Raw]], Iterable[Any]]) -> Iterable[Any]:
        return read(Dataset[Raw](folder / f"{name}.tar"))

    found: dict[str, Callable[[], Iterable[Any]]] = {
        "webdataset, one by one": theirs,
        "webdataset, batches": partial(theirs, batched=True),
        "webdataset, shuffled in a buffer of 1,000": partial(theirs, shuffled=True),
    }
    for name, title in (
        ("webdataset", "its tar, no table"),
        ("members", "members, with a table"),
        ("msgpack", "msgpack, with a table"),
    ):
        for way, read in READ.items():
            if name != "msgpack" or way != "text alone":
                found[f"{title}, {way}"] = partial(ours, name, read)
    return {name: partial(_drained, made) for name, made in found.items()}


def _drained(made: Callable[[], Iterable[Any]]) -> None:
    deque(made(), 0)


READ: Final[dict[str, Callable[[Dataset[Raw]], Iterable[Any]]]] = {
    "one by one": lambda dataset: dataset.ordered(),
    "batches": lambda dataset: dataset.ordered(BATCH),
    "shuffled": lambda dataset: dataset.shuffled(seed=1),
    "text alone": lambda dataset: dataset.select("txt").ordered(),
}


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.members", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    for shard, (count, least, most) in SIZES.items():
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            write(folder, count, least, most)
            measured = ways(folder)
            took: dict[str, list[tuple[float, float]]] = {name: [] for name in measured}
            # The first round reads the files, and imports.
            for number in range(rounds + 1):
                for name, call in measured.items():
                    once = timed(call)  # type: ignore[arg-type]
                    took[name] += [once] if number else []
        _show(f"{shard}: {count:,} samples, pictures of {least:,} to {most:,} bytes", count, took)


def _show(title: str, count: int, took: dict[str, list[tuple[float, float]]]) -> None:
    base = best(took["webdataset, one by one"])
    print(f"\n{title}\n")
    print("| | samples/s | × webdataset | processor time a sample | × webdataset |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, times in took.items():
        clock, spent = best(times)
        print(
            f"| {name} | {count / clock:,.0f} | {base[0] / clock:.1f} | "
            f"{spent / count * 1e6:,.1f} µs | {base[1] / spent:.1f} |"
        )


if __name__ == "__main__":
    main()
