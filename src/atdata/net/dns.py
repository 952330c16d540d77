"""TXT records of a name, asked of the system's nameservers.

https://www.rfc-editor.org/rfc/rfc1035; the standard library looks up addresses alone.
"""

from __future__ import annotations

import secrets
import socket
import struct
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from atdata.errors import SourceError

Server = tuple[str, int]
"""Address and port."""

_CONFIGURED: Final = Path("/etc/resolv.conf")
_MOST_SERVERS: Final = 3
_ROUNDS: Final = 2
_SECONDS: Final = 2.0
"""For one answer of one server."""
_LONGEST_NAME: Final = 253
_TXT: Final = 16
_INTERNET: Final = 1
_TRUNCATED: Final = 0x0200
_NO_SUCH_NAME: Final = 3


def system_servers() -> list[Server]:
    """The nameservers of this machine; none where it does not say them in a file."""
    try:
        lines = _CONFIGURED.read_text(errors="replace").splitlines()
    except OSError:
        return []
    words = (line.split() for line in lines)
    return [(w[1], 53) for w in words if len(w) > 1 and w[0] == "nameserver"][:_MOST_SERVERS]


def txt_records(name: str, servers: Sequence[Server]) -> list[str]:
    """The TXT records of a name, each as one text; none where it has none or is none.

    Args:
        name: A domain name in ASCII.
        servers: Asked in turns.

    Raises:
        SourceError: None of them answers.
    """
    if len(name) > _LONGEST_NAME:
        return []
    for server in list(servers) * _ROUNDS:
        try:
            found = _ask(name, server)
        except (OSError, ValueError):
            continue
        if found is not None:
            return found
    raise SourceError(f"{name}: no nameserver answers ({', '.join(host for host, _ in servers)}).")


def _ask(name: str, server: Server) -> list[str] | None:
    """The answer of one server; None: it cannot say.

    Raises:
        OSError: It does not answer in time.
    """
    end = time.monotonic() + _SECONDS
    labels = b"".join(bytes((len(label),)) + label for label in name.encode("ascii").split(b"."))
    asked = labels + b"\0" + struct.pack(">HH", _TXT, _INTERNET)
    number = secrets.token_bytes(2)
    query = number + struct.pack(">5H", 0x0100, 1, 0, 0, 0) + asked
    # Connected, and from a port of the system's choice: nobody else's word is heard.
    with _connected(server, socket.SOCK_DGRAM, end) as udp:
        udp.send(query)
        while True:
            answer = _received(udp, 65_535, end)
            if _is_answer(answer, number, asked):
                break
    if struct.unpack_from(">H", answer, 2)[0] & _TRUNCATED:
        with _connected(server, socket.SOCK_STREAM, end) as tcp:
            tcp.sendall(struct.pack(">H", len(query)) + query)
            (size,) = struct.unpack(">H", _whole(tcp, 2, end))
            answer = _whole(tcp, size, end)
        if not _is_answer(answer, number, asked):
            raise ValueError("an answer to something else")
    return _texts(answer, 12 + len(asked))


def _connected(server: Server, kind: socket.SocketKind, end: float) -> socket.socket:
    family, _, _, _, address = socket.getaddrinfo(*server, type=kind)[0]
    made = socket.socket(family, kind)
    try:
        made.settimeout(max(0.001, end - time.monotonic()))
        made.connect(address)
    except BaseException:
        made.close()
        raise
    return made


def _received(connection: socket.socket, size: int, end: float) -> bytes:
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError
    connection.settimeout(left)
    return connection.recv(size)


def _whole(connection: socket.socket, size: int, end: float) -> bytes:
    data = b""
    while len(data) < size:
        piece = _received(connection, size - len(data), end)
        if not piece:
            raise ConnectionError("the nameserver ended the connection")
        data += piece
    return data


def _is_answer(answer: bytes, number: bytes, asked: bytes) -> bool:
    """Whether it is one, to this question, under this number."""
    return (
        answer[:2] == number
        and answer[2:3] >= b"\x80"
        and answer[4:6] == b"\0\1"
        and answer[12 : 12 + len(asked)].lower() == asked.lower()
    )


def _texts(answer: bytes, at: int) -> list[str] | None:
    flags, _, count = struct.unpack_from(">3H", answer, 2)
    if flags & 15 == _NO_SUCH_NAME:
        return []
    if flags & 15:
        return None
    found = []
    for _ in range(count):
        at = _behind_name(answer, at)
        if len(answer) < at + 10:
            raise ValueError("cut off")
        kind, place, _, size = struct.unpack_from(">HHIH", answer, at)
        data, at = answer[at + 10 : at + 10 + size], at + 10 + size
        if len(data) < size:
            raise ValueError("cut off")
        # What an alias leads to is in the answer as well.
        if (kind, place) == (_TXT, _INTERNET):
            found.append(_text(data))
    return found


def _behind_name(answer: bytes, at: int) -> int:
    while at < len(answer):
        size = answer[at]
        if size >= 0xC0:
            return at + 2
        at += 1 + size
        if size == 0:
            return at
    raise ValueError("cut off")


def _text(data: bytes) -> str:
    """The pieces of a record, put together."""
    parts, at = b"", 0
    while at < len(data):
        parts += data[at + 1 : at + 1 + data[at]]
        at += 1 + data[at]
    return parts.decode("utf-8", errors="replace")
