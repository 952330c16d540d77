"""A process of several threads that insert at once; run with ``python -m tests.local.writing``."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import atdata
from atdata.local import LocalIndex
from tests.local.conftest import Digit

THREADS = 4


def main(where: str, process: str, same: str, *own: str) -> None:
    """Insert what all processes insert, and what only this one has, from several threads."""
    index = LocalIndex(where)
    print("ready", flush=True)
    sys.stdin.readline()
    jobs = [("same", same)] * THREADS
    jobs += [("contested", url) for url in own]
    jobs += [(f"own-{process}-{number}", url) for number, url in enumerate(own)]
    with ThreadPoolExecutor(THREADS) as pool:
        for name, entry in pool.map(lambda job: (job[0], _insert(index, job[0], job[1])), jobs):
            print(name, entry.cid, entry.revision)


def _insert(index: LocalIndex, name: str, url: str) -> atdata.local.LocalDatasetEntry:
    return index.insert_dataset(atdata.Dataset[Digit](url), name=name)


if __name__ == "__main__":
    main(*sys.argv[1:])
