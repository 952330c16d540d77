"""A connection pool for threads, which no child process inherits."""

from __future__ import annotations

import os
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Generic, Protocol, TypeVar

from atdata.errors import BackendError
from atdata.system.forks import at_fork


class Connection(Protocol):
    """What the pool asks of a connection."""

    def close(self) -> Any:
        """End it."""


C = TypeVar("C", bound=Connection)

_POOLS: weakref.WeakSet[ConnectionPool[Any]] = weakref.WeakSet()
_INHERITED: Final[list[Any]] = []
"""Connections of a parent process, kept so that nothing closes them here."""


class ConnectionPool(Generic[C]):
    """Opens connections as threads ask for them, and keeps a few for the next.

    ``usable`` says whether one that was idle still works.
    """

    def __init__(
        self, connect: Callable[[], C], *, usable: Callable[[C], bool], keep: int = 4
    ) -> None:
        self._connect = connect
        self._usable = usable
        self._keep = keep
        self._closed = False
        self._idle: deque[tuple[int, C]] = deque()
        self._finalizer = weakref.finalize(self, _close_all, self._idle)
        _POOLS.add(self)

    @contextmanager
    def use(self) -> Iterator[C]:
        """A connection for this thread alone. An error in the block ends the connection."""
        connection = self._take()
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        if self._closed or len(self._idle) >= self._keep:
            connection.close()
        else:
            self._idle.append((os.getpid(), connection))

    def close(self) -> None:
        """Close what is idle; what is in use is closed when it comes back."""
        self._closed = True
        self.close_idle()

    def close_idle(self) -> None:
        """Close what is idle; the next use opens a new one."""
        _close_all(self._idle)

    def _take(self) -> C:
        if self._closed:
            raise BackendError("This index was closed. Make a new one.")
        while True:
            try:
                owner, connection = self._idle.pop()
            except IndexError:
                return self._connect()
            if owner != os.getpid():
                _INHERITED.append(connection)
            elif self._usable(connection):
                return connection
            else:
                connection.close()


def _close_all(idle: deque[tuple[int, C]]) -> None:
    while True:
        try:
            owner, connection = idle.pop()
        except IndexError:
            return
        if owner == os.getpid():
            connection.close()
        else:
            _INHERITED.append(connection)


def _before_fork() -> None:
    # SQLite keeps its view of file locks in the process: a child that inherits an open
    # connection believes that it holds locks that only its parent has.
    # https://www.sqlite.org/howtocorrupt.html#_carrying_an_open_database_connection_across_a_fork_
    for pool in list(_POOLS):
        pool.close_idle()


at_fork(before=_before_fork)
