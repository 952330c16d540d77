"""Threads that decode, shared by all datasets of a process"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from atdata.system.forks import at_fork

_pools: Final[dict[int, ThreadPoolExecutor]] = {}
"""Number of threads → a pool of so many."""
_inherited: Final[list[ThreadPoolExecutor]] = []
"""Pools of a process that this one was forked from: their threads do not exist here."""


def _forked() -> None:
    _inherited.extend(_pools.values())
    _pools.clear()


at_fork(after_in_child=_forked)


def processors() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Jobs:
    """Calls of a function for the numbers before a count, by several threads.

    Args:
        threads: How many.
        count: The numbers are those before it.
        call: The function. After it has raised an error, no other call begins.
    """

    def __init__(self, threads: int, count: int, call: Callable[[int], None]) -> None:
        self._numbers = iter(range(count))
        self._call = call
        self._failed: list[tuple[int, BaseException]] = []
        self._cancelled = False
        if threads == 1 or count <= 1:
            self._running: list[Future[None]] = []
            return
        pool = _pools.get(threads)
        if pool is None:
            pool = _pools.setdefault(threads, ThreadPoolExecutor(threads, "atdata-decode"))
        self._running = [pool.submit(self._run) for _ in range(min(threads, count))]

    def wait(self) -> None:
        """Wait until all are done.

        Raises:
            Exception: That of the lowest number, of those that failed.
        """
        if not self._running:
            self._run()
        for future in self._running:
            future.result()
        if self._failed:
            raise min(self._failed, key=lambda found: found[0])[1]

    def cancel(self) -> None:
        """Begin no other call."""
        self._cancelled = True

    def _run(self) -> None:
        # Threads that ask for the next number share the iterator: one call of C code.
        for number in self._numbers:
            if self._failed or self._cancelled:
                return
            try:
                self._call(number)
            except BaseException as error:
                self._failed.append((number, error))
                return
