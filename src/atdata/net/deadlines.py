"""Time and room for what a server sends, held at its socket: status, headers, body, trailers.

A timeout of a socket begins anew with each byte, and what parses HTTP reads on for as long as
bytes come. So each read from a socket gets what is left until the end of the block that waits.
"""

from __future__ import annotations

import http.client
import io
import math
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from atdata._limits import limits
from atdata.errors import SourceError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_thread: Final = threading.local()


class _GivenUpError(Exception):
    """Not an OSError, which urllib3 would take for a connection that broke."""


@contextmanager
def within(seconds: float, name: str, problem: str = "") -> Iterator[None]:
    """Leave a server whose answer is not there in time, whatever it sends meanwhile.

    Counts for what this thread reads in the block. Blocks may be nested: the earliest end counts.

    Args:
        seconds: From now on.
        name: What to call the answer in errors.
        problem: What to say instead of "the answer did not come within … s".

    Raises:
        SourceError: The time is up, or a head had more than ``limits.head_bytes``.
    """
    try:
        with _until(seconds, problem or f"the answer did not come within {seconds} s"):
            yield
    except _GivenUpError as error:
        raise SourceError(f"{name}: {error}.") from None


def seconds_left() -> float:
    """Seconds until the end of the block of `within`, at least a little; infinite outside."""
    return max(0.001, _end()[0] - time.monotonic())


class Pace:
    """How long a stranger's server may still keep its reader waiting.

    ``limits.grace`` seconds at first and at most; ``limits.slowest`` bytes give one of them back.

    Args:
        name: What to call the file in errors.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._left = float(limits.grace)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Read something in the block.

        Raises:
            SourceError: The server is too slow.
        """
        started = time.monotonic()
        problem = f"fewer than {limits.slowest:,} bytes a second: its server is too slow to go on"
        try:
            with within(self._left, self._name, problem):
                yield
        finally:
            self.took(time.monotonic() - started)

    def took(self, seconds: float) -> None:
        """So many seconds went by with waiting."""
        self._left -= seconds

    def came(self, size: int) -> None:
        """So many bytes have arrived."""
        self._left = min(float(limits.grace), self._left + size / limits.slowest)


def pools(manager: urllib3.PoolManager) -> None:
    """Have all connections of a manager keep to the ends of `within`."""
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}


def _end() -> tuple[float, str]:
    found: tuple[float, str] = getattr(_thread, "end", (math.inf, ""))
    return found


@contextmanager
def _until(seconds: float, problem: str) -> Iterator[None]:
    before = _end()
    _thread.end = min(before, (time.monotonic() + seconds, problem))
    try:
        yield
    finally:
        _thread.end = before


class _Bytes(io.RawIOBase):
    """What comes from a socket, in time.

    Args:
        connection: Of `socket.socket`, or what urllib3 has in its place.
        raw: Its stream.
    """

    room = math.inf
    """Bytes that are still taken."""

    def __init__(self, connection: socket.socket, raw: io.RawIOBase) -> None:
        super().__init__()
        self._connection = connection
        self._raw = raw

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        """Read what is there, or wait for it until the end."""
        end, problem = _end()
        if end == math.inf:
            size = self._raw.readinto(buffer)
        else:
            silent = self._connection.gettimeout()
            left = end - time.monotonic()
            if left <= 0:
                raise _GivenUpError(problem)
            self._connection.settimeout(left if silent is None else min(left, silent))
            try:
                size = self._raw.readinto(buffer)
            except TimeoutError:
                if time.monotonic() >= end:
                    raise _GivenUpError(problem) from None
                raise
            finally:
                self._connection.settimeout(silent)
        self.room -= size or 0
        if self.room < 0:
            raise _GivenUpError(f"more than {limits.head_bytes:,} bytes before the body")
        return size

    def close(self) -> None:
        """Let go of the socket."""
        if not self.closed:
            self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """Its head, any number of "100 Continue" before it included, is bounded in room and time."""

    def __init__(self, sock: Any, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self._bytes = _Bytes(sock, self.fp.detach())
        self.fp = io.BufferedReader(self._bytes)

    def begin(self) -> None:
        """Read the status and the headers."""
        seconds = limits.document_seconds
        self._bytes.room = limits.head_bytes
        with _until(seconds, f"the answer did not begin within {seconds} s"):
            super().begin()
        self._bytes.room = math.inf


class _Connection(HTTPConnection):
    response_class = _Response


class _SecureConnection(HTTPSConnection):
    response_class = _Response


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _SecureConnection
