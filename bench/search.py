"""``python -m bench.search --entries 1000000``: what a search costs in a large index.

Fills an index on each backend as an older version left it, has it brought up to date by opening
it, which gives every entry its terms in the way that insertions do, and then measures searches,
what another client sees meanwhile, and single insertions. Prints one table.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import resource
import sqlite3
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from atdata._shardlist import ShardInfo
from atdata.local import LocalDatasetEntry, LocalIndex
from atdata.local.backends.base import EntryRow
from atdata.local.entry import to_row
from atdata.local.search_terms import entry_terms
from tests.services import postgres, redis
from tests.services.process import temporary_folder

REPEATS: Final = 20
INSERTIONS: Final = 200
_BATCH: Final = 2_000
_SHARD: Final = ShardInfo("https://example.org/data.tar", 1_000, 1_000_000, "0" * 64)
_TIME: Final = datetime(2026, 1, 1, tzinfo=UTC)


def entry(number: int) -> LocalDatasetEntry:
    """One of the entries: words that all, half, a thousandth, and one of them have."""
    half = ("north", "south")[number % 2]
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    return LocalDatasetEntry(
        name=f"{half}-{number % 1_000:03d}-{digest[:8]}",
        schema_ref=f"atdata://local/sampleSchema/Reading{number % 20}@1.0.0",
        shards=(replace(_SHARD, url=f"https://example.org/{number}.tar", sha256=digest),),
        description=f"Measurements of station {number} in the {half}, series run{number:07d}.",
        tags=("weather", "even" if number % 2 == 0 else "odd", f"group{number % 100}"),
        license="MIT" if number % 3 else "CC-BY-4.0",
        created_at=_TIME,
    )


QUERIES: Final[dict[str, dict[str, Any]]] = {
    "a word that all have": {"text": "measurements"},
    "a word that half have": {"text": "north"},
    "a word of a thousandth": {"text": "017"},
    "a word of one": {"text": "run0000042"},
    "a word of none": {"text": "ocean"},
    "five words that all have": {"text": "measurements of station in the"},
    "two words, half each, none both": {"text": "north south", "tags": ["even", "odd"]},
    "all and one": {"text": "measurements run0000042"},
    "a prefix that all have": {"text": "m"},
    "a prefix that all have in different words": {"text": "run"},
    "a prefix of some": {"text": "run000001"},
    "a tag that all have": {"tags": ["weather"]},
    "two tags, none both": {"tags": ["even", "odd"]},
    "a tag of a hundredth": {"tags": ["group17"]},
    "a licence": {"license": "MIT"},
    "a class": {"schema": "Reading7"},
    "word, tag, licence and class": {
        "text": "station",
        "tags": ["weather"],
        "license": "MIT",
        "schema": "Reading7",
    },
    "everything": {},
}


@dataclass(frozen=True)
class Place:
    """An index to be measured."""

    name: str
    url: str
    fill: Callable[[str, Iterator[EntryRow]], None]
    probe: Callable[[str], Callable[[], object]]
    """A small question of another client."""


def fill_sqlite(url: str, rows: Iterator[EntryRow]) -> None:
    """Write entries as an older version left them."""
    connection = sqlite3.connect(url)
    with connection:
        connection.executemany(
            "INSERT INTO entries (name, revision, cid, newest, indexed, document) "
            "VALUES (?, ?, ?, 1, 0, ?)",
            ((row.name, row.revision, row.cid, row.document) for row in rows),
        )
    connection.close()


def fill_postgres(url: str, rows: Iterator[EntryRow]) -> None:
    """Write entries as an older version left them."""
    import psycopg

    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        statement = "COPY atdata_entries (name, revision, cid, newest, document) FROM STDIN"
        with cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row((row.name, row.revision, row.cid, True, row.document))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ANALYZE")


def fill_redis(url: str, rows: Iterator[EntryRow]) -> None:
    """Write entries as an older version left them."""
    from redis import Redis

    client = Redis.from_url(url)
    number = 0
    while batch := list(islice(rows, _BATCH)):
        with client.pipeline(transaction=False) as pipeline:
            for row in batch:
                number += 1
                pipeline.rpush(f"atdata:dataset:{row.name}", f"{row.cid} {row.document}")
                pipeline.zadd(f"atdata:cid:{row.cid}", {f"1 {row.name}": number})
            pipeline.zadd("atdata:names", {row.name: 0 for row in batch})
            pipeline.zadd("atdata:unindexed", {row.name: 0 for row in batch})
            pipeline.set("atdata:added", number)
            pipeline.execute()
    client.close()


def probe_sqlite(url: str) -> Callable[[], object]:
    """Reads a row by its key."""
    connection = sqlite3.connect(url)
    return lambda: connection.execute("SELECT max(id) FROM entries").fetchall()


def probe_postgres(url: str) -> Callable[[], object]:
    """The smallest question."""
    import psycopg

    connection = psycopg.connect(url, autocommit=True)
    return lambda: connection.execute("SELECT 1").fetchall()


def probe_redis(url: str) -> Callable[[], object]:
    """The smallest question."""
    from redis import Redis

    client = Redis.from_url(url)
    return client.ping


@contextmanager
def other_client(place: Place) -> Iterator[Callable[[], list[float]]]:
    """Another process that asks a small question every millisecond; gives what it waited."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_ask, args=(place.probe, place.url, there)
    )
    process.start()
    here.recv()

    def waited() -> list[float]:
        here.send("waited?")
        found: list[float] = here.recv()
        return found

    try:
        yield waited
    finally:
        here.send("end")
        process.join()


def _ask(probe: Callable[[str], Callable[[], object]], url: str, pipe: Connection) -> None:
    ask = probe(url)
    waited: list[float] = []
    pipe.send("ready")
    while True:
        if pipe.poll():
            if pipe.recv() == "end":
                return
            pipe.send(waited)
            waited = []
        start = time.perf_counter()
        ask()
        waited.append(1_000 * (time.perf_counter() - start))
        time.sleep(0.001)


def measure(place: Place, entries: int) -> list[tuple[str, ...]]:
    """Rows of the table: what was done, and milliseconds."""
    start = time.perf_counter()
    LocalIndex(place.url).close()
    place.fill(place.url, map(to_row, map(entry, range(entries))))
    filled = time.perf_counter()
    index = LocalIndex(place.url)
    opened = time.perf_counter()
    print(f"{place.name}: written in {filled - start:.0f} s, ", end="", file=sys.stderr)
    print(f"given terms in {opened - filled:.0f} s", file=sys.stderr, flush=True)
    table: list[tuple[str, ...]] = []
    with other_client(place) as waited:
        time.sleep(1)
        idle = waited()
        table.append((place.name, "(nothing)", "", "", "", *_spread(idle)))
        for name, query in QUERIES.items():
            waited()
            found: list[LocalDatasetEntry] = []
            took: list[float] = []
            for _ in range(REPEATS):
                start = time.perf_counter()
                found = index.search(**query, limit=10)
                took.append(1_000 * (time.perf_counter() - start))
            table.append((place.name, name, str(len(found)), *_spread(took), *_spread(waited())))
        took = []
        waited()
        for number in range(entries, entries + INSERTIONS):
            new = entry(number)
            start = time.perf_counter()
            index._backend.add_entry(to_row(new), entry_terms(new))
            took.append(1_000 * (time.perf_counter() - start))
        table.append((place.name, "(one insertion)", "", *_spread(took), *_spread(waited())))
    index.close()
    return table


def _spread(took: list[float]) -> tuple[str, str]:
    return f"{statistics.median(took):.1f}", f"{max(took):.1f}"


@contextmanager
def places(wanted: list[str]) -> Iterator[list[Callable[[], Any]]]:
    """Each backend in turn, started when it is entered."""

    @contextmanager
    def of_sqlite() -> Iterator[Place]:
        with temporary_folder("search") as folder:
            yield Place("sqlite", str(Path(folder, "index.db")), fill_sqlite, probe_sqlite)

    @contextmanager
    def of_postgres() -> Iterator[Place]:
        with postgres.start() as server:
            yield Place("postgres", server.url, fill_postgres, probe_postgres)

    @contextmanager
    def of_redis() -> Iterator[Place]:
        with redis.start() as server:
            yield Place("redis", server.database(0), fill_redis, probe_redis)

    every = {"sqlite": of_sqlite, "postgres": of_postgres, "redis": of_redis}
    yield [every[name] for name in wanted]


HEAD: Final = ("backend", "limit=10", "found", "median", "max", "other: median", "other: max")


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.search", description=__doc__)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument(
        "--backend",
        action="append",
        choices=["sqlite", "postgres", "redis"],
        help="repeat for several",
    )
    arguments = parser.parse_args()
    print(f"{arguments.entries:,} entries; milliseconds of {REPEATS} searches each\n")
    print(f"| {' | '.join(HEAD)} |\n|{' --- |' * len(HEAD)}", flush=True)
    with places(arguments.backend or ["sqlite", "postgres", "redis"]) as opened:
        for start in opened:
            with start() as place:
                for row in measure(place, arguments.entries):
                    print(f"| {' | '.join(row)} |", flush=True)
    print(f"\npeak memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:,.0f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
