"""Reading HTTP messages from a socket as they are on the wire, and ending connections."""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

_PIECE = 1 << 16


@dataclass(frozen=True)
class Head:
    """The first lines of a message: its start line's three parts, and headers in lower case."""

    raw: bytes
    start: tuple[str, str, str]
    headers: dict[str, str]

    @classmethod
    def parse(cls, raw: bytes) -> Head:
        """From bytes up to and with the empty line."""
        first, *rest = raw.decode("latin-1").rstrip("\r\n").split("\r\n")
        one, two, three = [*first.split(" ", 2), "", ""][:3]
        pairs = (line.partition(":") for line in rest)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        return cls(raw, (one, two, three), headers)

    @property
    def keeps_open(self) -> bool:
        """Whether another message may follow on the connection."""
        return self.headers.get("connection", "").lower() != "close"


class Wire:
    """A socket with what has been read from it and not yet used."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._buffer = b""

    def head(self) -> Head | None:
        """The next message's head; None when the connection ended before one."""
        while b"\r\n\r\n" not in self._buffer:
            data = self.socket.recv(_PIECE)
            if not data:
                return None
            self._buffer += data
        raw, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        return Head.parse(raw + b"\r\n\r\n")

    def body(self, head: Head, *, until_end: bool) -> Iterator[bytes]:
        """The message's body in pieces, chunk framing included.

        Args:
            head: Says how long it is.
            until_end: Without a length, the body ends with the connection (a response)
                or is empty (a request).
        """
        if "chunked" in head.headers.get("transfer-encoding", "").lower():
            yield from self._chunks()
        elif "content-length" in head.headers:
            yield from self._exactly(int(head.headers["content-length"]))
        elif until_end:
            while data := self.some(_PIECE):
                yield data

    def some(self, limit: int) -> bytes:
        """At most so many bytes; none at the end."""
        if self._buffer:
            data, self._buffer = self._buffer[:limit], self._buffer[limit:]
            return data
        return self.socket.recv(limit)

    def is_over(self) -> bool:
        """Whether the other side has closed while nothing was going on."""
        if self._buffer:
            return False
        # select() cannot take the numbers of files that a process with over 1,024 of them has.
        ready = select.poll()
        ready.register(self.socket, select.POLLIN)
        if not ready.poll(0):
            return False
        try:
            return not self.socket.recv(1, socket.MSG_PEEK)
        except OSError:
            return True

    def _exactly(self, length: int) -> Iterator[bytes]:
        while length:
            data = self.some(min(length, _PIECE))
            if not data:
                raise ConnectionError("the connection ended in the middle of a body")
            length -= len(data)
            yield data

    def _line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            data = self.socket.recv(_PIECE)
            if not data:
                raise ConnectionError("the connection ended in the middle of a body")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line + b"\r\n"

    def _chunks(self) -> Iterator[bytes]:
        while True:
            line = self._line()
            yield line
            size = int(line.partition(b";")[0], 16)
            if size == 0:
                break
            yield from self._exactly(size + 2)
        # Trailers, up to the empty line.
        while True:
            line = self._line()
            yield line
            if line == b"\r\n":
                return


def hang_up(connection: socket.socket) -> None:
    """Shut a connection in good order, waking whoever reads from it."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


def reset(connection: socket.socket) -> None:
    """End a connection with a reset instead of a good-bye; a reader in a thread wakes up."""
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RD)
    except OSError:
        return
    finally:
        connection.close()
