"""Promotions through everything that can go wrong, until each has succeeded; then what is there.

By hand: ``python -m tests.promote.chaos --promotions 200 --shards 20 --seed 1``. It prints its
counts and ends with 1 if a promise was broken. Half of the promotions copy to blobs, half to a
bucket; each runs in a process of its own, which may be killed at any request.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import webdataset
from numpy.typing import NDArray

import atdata
from atdata._refs import DATASET_COLLECTION, SCHEMA_COLLECTION
from atdata.atmosphere import AtmosphereClient, AtmosphereIndex
from atdata.dataset.dataset import Dataset
from atdata.local import LocalDatasetEntry, LocalIndex, S3DataStore
from tests.services.proxy import FaultProxy
from tests.services.s3 import S3Server
from tests.stores.journal import sent

_CALM = 8
"""Attempts after which a promotion is left in peace."""
_ADDED = ("promotions", "attempts", "kills", "acknowledged", "unnoted", "unheard", "resent")
_HEADERS = {"Retry-After": "0"}
_EXPIRED = b'{"error":"ExpiredToken","message":"Token has expired"}'


@atdata.packable
class Item:
    """A sample that differs from every other."""

    values: NDArray[np.int64]
    dataset: int
    number: int


def items(dataset: int, shards: int) -> list[Item]:
    """Two samples a shard."""
    numbers = range(2 * shards)
    return [Item(np.arange(16) + 1000 * dataset + n, dataset, n) for n in numbers]


@dataclass
class Counts:
    """What happened."""

    promotions: int = 0
    attempts: int = 0
    kills: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    """Attempts that ended with an error, by its type."""
    faults: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    """Shards that a server acknowledged."""
    unnoted: int = 0
    """Shards sent again because the process was killed before it could note the answer."""
    unheard: int = 0
    """Shards sent again because the answer came when the process was dead already."""
    resent: int = 0
    """Shards sent again though the process had noted that they were acknowledged."""
    schemas: int = 0
    datasets: int = 0
    wrong: int = 0
    """Datasets that do not have every sample, in order."""

    @property
    def kept(self) -> bool:
        """Whether every promise was kept."""
        once = (self.schemas, self.datasets) == (1, self.promotions)
        return once and not (self.resent or self.unnoted or self.unheard or self.wrong)

    def __str__(self) -> str:
        return "\n".join(
            [
                f"promotions        {self.promotions}",
                f"attempts          {self.attempts}, of which killed {self.kills}, failed "
                f"{sum(self.failures.values())} {dict(self.failures)}",
                f"faults            {sum(self.faults.values())} {dict(self.faults)}",
                f"acknowledged      {self.acknowledged} shards",
                f"sent again        {self.resent} after it was noted that they arrived, "
                f"{self.unnoted} by a process killed before it could note it, {self.unheard} "
                "whose answer came to a dead process",
                f"on the network    {self.schemas} schemas, {self.datasets} datasets, "
                f"{self.wrong} of them not as they were",
                f"promises          {'kept' if self.kept else 'BROKEN'}",
            ]
        )


SCRIPT = """
import os, sys, warnings
warnings.simplefilter("ignore")
from atdata.atmosphere import AtmosphereClient, PDSBlobStore
from atdata.local import LocalIndex, S3DataStore
from atdata.promote import promote_to_atmosphere

try:
    index = LocalIndex(os.environ["INDEX"])
    client = AtmosphereClient()
    client.login_with_session(os.environ["SESSION"])
    store = PDSBlobStore(client)
    if os.environ["STORE"] == "s3":
        store = S3DataStore(credentials=dict(os.environ), bucket=os.environ["BUCKET"])
    entry = index.get_dataset(os.environ["NAME"])
    print(promote_to_atmosphere(entry, index, client, data_store=store))
except OSError as error:
    print(type(error).__name__, file=sys.stderr)
    sys.exit(3)
"""


@dataclass(frozen=True)
class Place:
    """Where it happens."""

    server: str
    handle: str
    password: str
    s3: S3Server
    bucket: str
    folder: Path


class Worker:
    """Does promotions one after another, through proxies of its own."""

    def __init__(self, place: Place, number: int, shards: int, chance: random.Random) -> None:
        self.place, self.shards, self.chance = place, shards, chance
        self.counts = Counts()
        self.killed_at = math.inf
        self.pds = FaultProxy(place.server)
        self.s3 = FaultProxy(place.s3.endpoint)
        self.folder = place.folder / f"worker{number}"
        self.folder.mkdir()
        self.index = LocalIndex(self.folder / "index.db")
        client = AtmosphereClient(self.pds.url)
        client.login(place.handle, place.password)
        self.session, self.did = client.session_string, client.did

    def promote(self, number: int) -> tuple[str, LocalDatasetEntry]:
        """Promote a dataset until it is promoted."""
        name = f"dataset-{number}"
        dataset = self._written(number, name)
        entry = self.index.insert_dataset(dataset, name=name)
        kind = "blobs" if number % 2 else "s3"
        self.counts.promotions += 1
        known = {shard.sha256 for shard in entry.shards}
        noted: set[str | None] = set()
        arrived: dict[str, bool] = {}
        attempt = 0
        while True:
            attempt += 1
            seen = len(self.pds.acknowledged), len(self.s3.acknowledged)
            uri = self._attempt(name, kind, calm=attempt > _CALM)
            new = [*self.pds.acknowledged[seen[0] :], *self.s3.acknowledged[seen[1] :]]
            for one in (one for one in new if one.sha256 in known):
                self.counts.acknowledged += 1
                shard = one.sha256
                if shard in arrived:
                    self.counts.resent += shard in noted
                    self.counts.unnoted += shard not in noted and arrived[shard]
                    self.counts.unheard += shard not in noted and not arrived[shard]
                arrived[shard] = one.at < self.killed_at
            # What is in a bucket is found there.
            journal = sent(f"{self.pds.url} {self.did}")
            noted = set(arrived) if kind == "s3" else set(journal)
            if uri is not None:
                return uri, entry

    def _written(self, number: int, name: str) -> Dataset[Item]:
        """Shards of two samples; those of every third dataset are images to a server."""
        made = items(number, self.shards)
        if number % 3:
            return atdata.write_samples(made, self.folder / f"{name}.tar", maxcount=2)
        paths = [str(self.folder / f"{name}-{n:06d}.tar") for n in range(self.shards)]
        for n, path in enumerate(paths):
            with webdataset.TarWriter(path, mtime=0) as sink:
                for item in made[2 * n : 2 * n + 2]:
                    sink.write({**item.as_wds, "__key__": f"BM{item.number:06d}"})  # type: ignore[attr-defined]
        return Dataset.of(Item, paths)

    def _attempt(self, name: str, kind: str, *, calm: bool) -> str | None:
        self.counts.attempts += 1
        self.killed_at = math.inf
        proxy = self.s3 if kind == "s3" and self.chance.random() < 0.5 else self.pds
        pause = None
        if not calm:
            for _ in range(self.chance.randint(1, 3)):
                self._make_fault(proxy)
            if self.chance.random() < 0.5:
                pause = proxy.pause(skip=self.chance.randrange(3 * self.shards))
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT],
            env={
                **os.environ,
                **self.place.s3.credentials(),
                "AWS_ENDPOINT": self.s3.url,
                "BUCKET": self.place.bucket,
                "STORE": kind,
                "NAME": name,
                "INDEX": str(self.folder / "index.db"),
                "SESSION": self.session,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        while pause is not None and process.poll() is None:
            if pause.arrived(0.05):
                process.send_signal(signal.SIGKILL)
                self.killed_at = time.monotonic()
                self.counts.kills += 1
                break
        out, error = process.communicate()
        self.pds.clear()
        self.s3.clear()
        if process.returncode == 0:
            return out.strip()
        if process.returncode == 3:
            self.counts.failures[error.strip()] += 1
        elif process.returncode != -signal.SIGKILL:
            raise AssertionError(error)
        return None

    def _make_fault(self, proxy: FaultProxy) -> None:
        chance = self.chance
        target = chance.choice(("uploadBlob", "putRecord", "getRecord", r"PUT .*\.tar", "."))
        kind = chance.choice(
            ("429", "500", "503", "expired", "truncated", "cut upload", "delay", "no network")
        )
        self.counts.faults[kind] += 1
        if kind.isdigit():
            # Five in a row are more than a client's patience.
            proxy.answer(
                int(kind), times=chance.choice((1, 2, 4, 8)), match=target, headers=_HEADERS
            )
        elif kind == "expired":
            self.pds.answer(400, match="uploadBlob|putRecord|getSession", body=_EXPIRED)
        elif kind == "truncated":
            proxy.cut(
                after=chance.randrange(200), match=target, abrupt=chance.random() < 0.5, times=2
            )
        elif kind == "cut upload":
            proxy.cut_upload(after=chance.randrange(1, 3000), match="uploadBlob|PUT|putRecord")
        elif kind == "delay":
            proxy.delay(chance.uniform(0.01, 0.1), times=10, match=target)
        else:
            proxy.refuse()


def run(place: Place, *, promotions: int, shards: int, seed: int, workers: int) -> Counts:
    """Promote so many datasets of so many shards, and look at what came of it."""
    environment = {
        "ATDATA_DATA_DIR": str(place.folder / "data"),
        "ATDATA_ALLOW_PRIVATE": "1",
    }
    os.environ.update(environment)
    with ExitStack() as open_now, ThreadPoolExecutor(workers) as pool:
        crew = [Worker(place, n, shards, random.Random(f"{seed} {n}")) for n in range(workers)]
        for worker in crew:
            open_now.callback(worker.pds.close)
            open_now.callback(worker.s3.close)

        def work(number: int) -> list[tuple[str, LocalDatasetEntry]]:
            return [crew[number].promote(n) for n in range(number, promotions, workers)]

        made = [pair for pairs in pool.map(work, range(workers)) for pair in pairs]
        counts = _together([worker.counts for worker in crew])
        _look(place, made, counts)
    return counts


def _together(parts: Sequence[Counts]) -> Counts:
    counts = Counts()
    for part in parts:
        for name in _ADDED:
            setattr(counts, name, getattr(counts, name) + getattr(part, name))
        counts.failures += part.failures
        counts.faults += part.faults
    return counts


def _look(place: Place, made: list[tuple[str, LocalDatasetEntry]], counts: Counts) -> None:
    client = AtmosphereClient(place.server)
    client.login(place.handle, place.password)
    counts.schemas = len(list(client.list_records(client.did, SCHEMA_COLLECTION)))
    counts.datasets = len(list(client.list_records(client.did, DATASET_COLLECTION)))
    index = AtmosphereIndex(client)
    S3DataStore(credentials=place.s3.credentials(), bucket=place.bucket)
    for uri, entry in made:
        found = index.get_dataset(uri)
        if found.endpoint is not None:
            found = replace(
                found,
                endpoint=place.s3.endpoint,
                shards=tuple(shard.at(str(shard.url)) for shard in found.shards),
            )
        number = int(entry.name.rpartition("-")[2])
        expected = [
            (item.values.tolist(), item.number) for item in items(number, len(entry.shards))
        ]
        samples = [(item.values.tolist(), item.number) for item in Dataset.of(Item, found)]
        hashes = [shard.sha256 for shard in found.shards] == [s.sha256 for s in entry.shards]
        counts.wrong += samples != expected or not hashes


def main() -> int:
    """Run it on a network and a bucket of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--promotions", type=int, default=200)
    parser.add_argument("--shards", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--workers", type=int, default=3)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    from atdata.testing import network as net
    from tests.services.s3 import start

    with (
        tempfile.TemporaryDirectory() as folder,
        net.start(servers=1, accounts=("chaos",)) as network,
        start() as s3,
    ):
        os.environ["ATDATA_PLC_URL"] = network.plc_url
        s3.client().create_bucket(Bucket="chaos")
        account = network.accounts[0]
        place = Place(
            account.server_url, account.handle, account.password, s3, "chaos", Path(folder)
        )
        print(f"seed              {asked.seed}", flush=True)
        counts = run(
            place,
            promotions=asked.promotions,
            shards=asked.shards,
            seed=asked.seed,
            workers=asked.workers,
        )
    print(counts, flush=True)
    return 0 if counts.kept else 1


if __name__ == "__main__":
    sys.exit(main())
