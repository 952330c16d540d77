"""Writers of the same dataset, one of which is stopped by a real signal.

``python -m tests.stores.cancelled --runs 200`` prints what happened, half of it on folders and half
on S3. Each run: two processes insert one dataset into one store, each with an index of its own;
at a moment of chance one of them gets SIGINT, SIGTERM (with Python's handling, or as a program
that ends by `sys.exit`) or SIGKILL. Whatever an entry names has to be there, and be right.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeAlias

import atdata
from atdata._protocols import AbstractDataStore
from atdata.local import LocalIndex
from atdata.stores.disk import DiskDataStore
from atdata.stores.s3 import S3DataStore
from tests.services.s3 import S3Server, start
from tests.stores.parts import Photo, photos

SIGNALS = ("SIGINT", "SIGTERM as exit", "SIGKILL", "SIGTERM")
StoreOf: TypeAlias = Callable[[], AbstractDataStore]


@dataclass
class Outcome:
    """What runs came to."""

    ended: Counter[str] = field(default_factory=Counter)
    """Signal and whether its process had an entry: how often."""
    entries: int = 0
    """Entries whose shards were all looked at."""
    lost: list[str] = field(default_factory=list)
    """What an entry named, and was not there or not right."""

    def __str__(self) -> str:
        lines = [f"  {count:4} × {what}" for what, count in sorted(self.ended.items())]
        lines.append(f"  {self.entries:4} entries checked, {len(self.lost)} with shards lost")
        return "\n".join([*lines, *(f"       {what}" for what in self.lost)])


def insert(store_of: StoreOf, source: Path, index: Path, prefix: str | None, quiet: bool) -> None:
    """What each process does."""
    if quiet:
        # A traceback of Ctrl-C says nothing here.
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 (as long as the process)
    ds = atdata.Dataset[Photo](source)
    with LocalIndex(index, data_store=store_of()) as opened:
        opened.insert_dataset(ds, name="photos", prefix=prefix)


def one_run(
    name: str, store_of: StoreOf, source: Path, folder: Path, chance: random.Random, longest: float
) -> Outcome:
    """Two processes, one signal within so many seconds; ``folder`` is for their indexes."""
    outcome = Outcome()
    prefix = chance.choice((None, f"run-{folder.name}"))
    context = multiprocessing.get_context("fork")
    indexes = [folder / "stopped.db", folder / "other.db"]
    processes = [
        context.Process(target=insert, args=(store_of, source, index, prefix, n == 0))
        for n, index in enumerate(indexes)
    ]
    before = signal.getsignal(signal.SIGTERM)
    if name == "SIGTERM as exit":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    for process in chance.sample(processes, 2):
        process.start()
        time.sleep(chance.uniform(0, longest / 8))
    signal.signal(signal.SIGTERM, before)
    time.sleep(chance.uniform(0, longest))
    stopped = processes[0]
    assert stopped.pid is not None
    os.kill(stopped.pid, getattr(signal, name.partition(" ")[0]))
    for process in processes:
        process.join()
    if processes[1].exitcode != 0:
        outcome.lost.append(f"{name}: the other process failed")
    done = [index for index in indexes if check(index, name, outcome)]
    outcome.ended[f"{name}, {'after' if indexes[0] in done else 'before'} its entry"] += 1
    # A third writer completes what is not complete.
    insert(store_of, source, folder / "third.db", prefix, False)
    check(folder / "third.db", f"{name}, third writer", outcome)
    return outcome


def check(index: Path, said: str, outcome: Outcome) -> bool:
    """Look at all that an entry names; whether there is one."""
    if not index.exists():
        return False
    with LocalIndex(index) as opened:
        entries = list(opened.list_datasets())
    if not entries:
        return False
    outcome.entries += 1
    try:
        ds = atdata.Dataset[Photo](entries[0]).verified("full")
        labels = [sample.label for sample in ds]
        if labels != list(range(2 * len(entries[0].shards))):
            outcome.lost.append(f"{said}: {len(labels)} samples")
    except atdata.AtdataError as error:
        outcome.lost.append(f"{said}: {error}")
    return True


def runs(count: int, seed: int, server: S3Server | None, *, shards: int) -> Outcome:
    """Some runs on folders, or on a server."""
    chance, total = random.Random(seed), Outcome()
    base = Path(tempfile.mkdtemp(prefix="atdata-cancelled-"))
    try:
        source = Path(photos(base, 2 * shards, maxcount=2).shard_list[0]).parent
        longest = 0.0
        for number in range(count):
            folder = base / str(number)
            folder.mkdir()
            store_of: StoreOf = partial(DiskDataStore, folder / "a" / "store")
            if server is not None:
                bucket = f"cancelled-{seed}-{number}"
                server.client().create_bucket(Bucket=bucket)
                store_of = partial(S3DataStore, server.credentials(), bucket=bucket)
                store_of()  # From now on this process can read from it.
            if not longest:
                begin = time.monotonic()
                insert(store_of, source, folder / "undisturbed.db", "undisturbed", False)
                longest = 2 * (time.monotonic() - begin)
            name = SIGNALS[number % len(SIGNALS)]
            one = one_run(name, store_of, source, folder, chance, longest)
            total.ended += one.ended
            total.entries += one.entries
            total.lost += [f"run {number}: {what}" for what in one.lost]
            shutil.rmtree(folder)
    finally:
        shutil.rmtree(base)
    return total


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    asked = parser.parse_args()
    print(f"{asked.runs} runs, seed {asked.seed}")
    disk = runs(asked.runs // 2, asked.seed, None, shards=40)
    print(f"folders, {asked.runs // 2} runs:\n{disk}", flush=True)
    with start() as server:
        s3 = runs(asked.runs - asked.runs // 2, asked.seed, server, shards=10)
    print(f"S3, {asked.runs - asked.runs // 2} runs:\n{s3}")
    return 1 if disk.lost or s3.lost else 0


if __name__ == "__main__":
    sys.exit(main())
