"""Limits on what a server sends, in time and bytes, enforced at its socket.

The timeout of a socket restarts with each byte, and the HTTP parser reads for as long as bytes
come: status, headers, body, trailers. So each read gets the time left until the enclosing block
ends.
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


class _DeadlineError(Exception):
    """Not an OSError, which urllib3 would take for a broken connection."""


@contextmanager
def within(seconds: float, name: str, problem: str = "") -> Iterator[None]:
    """Give up on a server whose answer is not complete in time, whatever it sends meanwhile.

    Applies to all that this thread reads in the block. In nested blocks, the earliest end applies.
    The error has the name and the problem: by default that the answer did not come in time.

    Raises:
        SourceError: The time is up, or a head was larger than ``limits.head_bytes``.
    """
    try:
        with _until(seconds, problem or f"the answer did not come within {seconds} s"):
            yield
    except _DeadlineError as error:
        raise SourceError(f"{name}: {error}.") from None


def seconds_left() -> float:
    """Seconds until the enclosing `within` ends, always above 0; infinite outside of one."""
    return max(0.001, _end()[0] - time.monotonic())


class Pace:
    """How long a stranger's server may still keep its reader waiting.

    It starts with ``limits.grace`` seconds, which is also the most; each ``limits.slowest`` bytes
    that arrive earn one second.

    Args:
        name: What to call the file in errors.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._left = float(limits.grace)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time of the block as waiting; a SourceError if the server is too slow."""
        started = time.monotonic()
        problem = f"fewer than {limits.slowest:,} bytes a second: its server is too slow"
        try:
            with within(self._left, self._name, problem):
                yield
        finally:
            self.waited(time.monotonic() - started)

    def waited(self, seconds: float) -> None:
        """Count seconds of waiting."""
        self._left -= seconds

    def arrived(self, size: int) -> None:
        """Count bytes that arrived."""
        self._left = min(float(limits.grace), self._left + size / limits.slowest)


def enforce_deadlines(manager: urllib3.PoolManager) -> None:
    """Make all connections of a pool manager obey `within`."""
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
    """The bytes of a socket (or of urllib3's equivalent), read within the deadline."""

    bytes_left = math.inf
    """Bytes that are still accepted."""

    def __init__(self, connection: socket.socket, raw: io.RawIOBase) -> None:
        super().__init__()
        self._connection = connection
        self._raw = raw

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        """Read what has arrived, or wait for it until the deadline."""
        end, problem = _end()
        if end == math.inf:
            size = self._raw.readinto(buffer)
        else:
            silent = self._connection.gettimeout()
            left = end - time.monotonic()
            if left <= 0:
                raise _DeadlineError(problem)
            self._connection.settimeout(left if silent is None else min(left, silent))
            try:
                size = self._raw.readinto(buffer)
            except TimeoutError:
                if time.monotonic() >= end:
                    raise _DeadlineError(problem) from None
                raise
            finally:
                self._connection.settimeout(silent)
        self.bytes_left -= size or 0
        if self.bytes_left < 0:
            raise _DeadlineError(f"more than {limits.head_bytes:,} bytes before the body")
        return size

    def close(self) -> None:
        """Release the socket."""
        if not self.closed:
            self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """Its head, with every "100 Continue" before it, is limited in bytes and time."""

    def __init__(self, sock: Any, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self._bytes = _Bytes(sock, self.fp.detach())
        self.fp = io.BufferedReader(self._bytes)

    def begin(self) -> None:
        """Read the status and the headers."""
        seconds = limits.document_seconds
        self._bytes.bytes_left = limits.head_bytes
        with _until(seconds, f"the answer did not begin within {seconds} s"):
            super().begin()
        self._bytes.bytes_left = math.inf


class _Connection(HTTPConnection):
    response_class = _Response


class _SecureConnection(HTTPSConnection):
    response_class = _Response


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _SecureConnection
