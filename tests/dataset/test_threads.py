"""Threads that share a reading: each sample is returned once, or a thread gets an error."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import atdata
from atdata.errors import StateError


@atdata.packable
class Number:
    """A number."""

    n: int


Read = Callable[["atdata.Dataset[Number]"], Iterator[Any]]
WAYS: dict[str, Read] = {
    "ordered": lambda dataset: dataset.ordered(),
    "ordered in batches": lambda dataset: dataset.ordered(7),
    "shuffled": lambda dataset: dataset.shuffled(seed=1),
    "shuffled in batches": lambda dataset: dataset.shuffled(7, seed=1),
}


def numbers(item: Any) -> list[int]:
    """Those of a sample or of a batch."""
    return [item.n] if isinstance(item, Number) else list(item.n)


@pytest.mark.parametrize("way", WAYS)
def test_a_thread_that_asks_while_another_reads(tmp_path: Path, way: str) -> None:
    """A second thread gets an error and the first continues: nothing is read twice."""
    inside, go_on = threading.Event(), threading.Event()

    def slow(number: Number) -> Number:
        inside.set()
        assert go_on.wait(60)
        return number

    dataset = atdata.write_samples([Number(i) for i in range(50)], tmp_path / "x.tar", maxcount=20)
    reading = WAYS[way](dataset.map(slow))
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(next, reading)
        assert inside.wait(60)
        try:
            with pytest.raises(StateError, match="Two threads"):
                next(reading)
            with pytest.raises(StateError, match="Two threads"):
                next(iter(reading))
        finally:
            go_on.set()
        found = numbers(first.result())
    for item in reading:
        found += numbers(item)
    assert sorted(found) == list(range(50))


@pytest.mark.parametrize("way", WAYS)
def test_threads_that_begin_at_once(tmp_path: Path, way: str) -> None:
    """Threads that begin a reading together read it together, with errors or without."""
    dataset = atdata.write_samples([Number(i) for i in range(300)], tmp_path / "x.tar", maxcount=50)
    together = threading.Barrier(4)

    def read(reading: Iterator[Any]) -> list[int]:
        found: list[int] = []
        together.wait()
        while True:
            try:
                found += numbers(next(reading))
            except StateError:
                continue
            except StopIteration:
                return found

    with ThreadPoolExecutor(4) as pool:
        for _ in range(10):
            reading = WAYS[way](dataset)
            parts = list(pool.map(read, [reading] * 4))
            assert sorted(n for part in parts for n in part) == list(range(300))
