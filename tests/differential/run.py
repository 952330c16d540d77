"""Run random programs: ``python -m tests.differential.run --programs 10000 --seed 1``.

Starts the services that are needed, spreads the programs over SQLite, PostgreSQL and Redis, lets
one in fifty promote, and prints the seed of the first program that differs from the model.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from atdata.atmosphere import AtmosphereClient
from atdata.local import DiskDataStore, LocalIndex
from atdata.testing.network import Network
from tests.differential.programs import Program, World
from tests.services.postgres import PostgresServer
from tests.services.redis import RedisServer
from tests.services.shared import attach

BACKENDS = ("sqlite", "postgresql", "redis")
PROMOTED = 50
"""One program in so many may promote."""


@contextmanager
def world(folder: Path, place: str, other: str, client: AtmosphereClient | None) -> Iterator[World]:
    """Indexes on one database, without and with a store, and one on another."""
    store = DiskDataStore(folder / "store")
    with (
        LocalIndex(place) as index,
        LocalIndex(place, data_store=store) as with_store,
        LocalIndex(other) as far,
    ):
        yield World(folder, index, with_store, far, client)


def run_one(seed: int, where: World, steps: int = 12) -> None:
    """One program, whose folder is removed afterwards."""
    program = Program(seed, where)
    try:
        program.run(steps)
    except BaseException:
        print(f"program {seed}: {' '.join(program.log)}", file=sys.stderr)
        raise
    shutil.rmtree(program.folder)


def places(folder: Path, stack: ExitStack) -> dict[str, str]:
    """An empty database of each kind."""
    services = folder / "services"
    services.mkdir()

    def start(name: str) -> dict[str, Any]:
        return stack.enter_context(attach(services, name, f"tests.services.{name}"))

    postgres, redis = PostgresServer(**start("postgres")), RedisServer(**start("redis"))
    return {
        "sqlite": str(folder / "index.db"),
        "postgresql": postgres.create_database("differential"),
        "redis": redis.database(0),
    }


def logged_in(folder: Path, stack: ExitStack) -> AtmosphereClient:
    """A client of a new account of a network of this run's own."""
    services = folder / "services"
    network = Network.from_json(
        stack.enter_context(attach(services, "network", "atdata.testing.network", "--json"))
    )
    os.environ |= {
        "ATDATA_PLC_URL": network.plc_url,
        "ATDATA_PDS_URL": network.servers[0].url,
        "ATDATA_DATA_DIR": str(folder / "data"),
        "ATDATA_ALLOW_PRIVATE": "1",
    }
    account = network.create_account()
    client = AtmosphereClient()
    client.login(account.handle, account.password)
    return client


def main() -> int:
    """Run them all; 1 when one differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--keep-going", action="store_true", help="report every program")
    given = parser.parse_args()
    print(f"seed {given.seed}, {given.programs} programs", flush=True)
    failed = done = 0
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="differential-")))
        found, client = places(folder, stack), logged_in(folder, stack)
        worlds = []
        for number, name in enumerate(BACKENDS):
            room, other = folder / name, found[BACKENDS[number - 1]]
            room.mkdir()
            worlds.append(stack.enter_context(world(room, found[name], other, None)))
        for number in range(given.programs):
            where = worlds[number % len(worlds)]
            where.client = client if number % PROMOTED == 0 else None
            try:
                run_one(given.seed * 1_000_000 + number, where)
            except Exception:
                failed += 1
                traceback.print_exc()
                if not given.keep_going:
                    break
            done += 1
            if done % 1_000 == 0:
                print(f"{done} programs, {failed} differ", flush=True)
    print(f"seed {given.seed}: {done} programs, {failed} differ")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
