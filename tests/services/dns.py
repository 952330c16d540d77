"""A nameserver on loopback, over UDP and TCP, that has TXT records and manners of its own."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Nameserver:
    """What it has, what it was asked, and how it answers."""

    port: int
    texts: dict[str, list[str]] = field(default_factory=dict)
    """Name → its TXT records."""
    manner: str = ""
    """Nothing: as it should. Else one of those in `replies`."""
    noise: bytes = b""
    """What an answer is made of, after its number, in the manner "noise"."""
    asked: list[str] = field(default_factory=list)
    """``udp name`` or ``tcp name``."""

    @property
    def url(self) -> str:
        """For ``ATDATA_DNS_URL``."""
        return f"dns://127.0.0.1:{self.port}"

    def replies(self, query: bytes, way: str) -> list[bytes]:
        """What it sends for a question, in order."""
        name, end = _name(query)
        self.asked.append(f"{way} {name}")
        question = query[12 : end + 4]
        texts = self.texts.get(name.lower())
        rows = [_row(b"\xc0\x0c", 16, _pieces(text)) for text in texts or []]
        code = 0 if texts is not None else 3
        number = query[:2]
        whole = _answer(number, question, rows, code)
        match self.manner:
            case "silent":
                return []
            case "large" if way == "udp":
                return [_answer(number, question, [], 0x0200)]
            case "refuses":
                return [_answer(number, question, [], 5)]
            case "another number first":
                lie = _row(b"\xc0\x0c", 16, _pieces("did=did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"))
                other = bytes((number[0] ^ 1, number[1]))
                return [_answer(other, question, [lie], 0), query, whole]
            case "another question first":
                lie = _row(b"\xc0\x0c", 16, _pieces("did=did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"))
                other = b"\4evil" + question[5:]
                return [_answer(number, other, [lie], 0), whole]
            case "alias":
                alias = _row(b"\xc0\x0c", 5, b"\3www\xc0\x0c")
                rows = [_row(b"\3www\xc0\x0c", 16, _pieces(text)) for text in texts or []]
                return [_answer(number, question, [alias, *rows], 0)]
            case "capitals":
                return [_answer(number, question.upper(), rows, code)]
            case "noise":
                return [number + self.noise]
            case "cut":
                return [whole[:-3]]
            case "garbage":
                return [b"", b"\0", number + b"\x81\x80" + bytes(500)]
            case "names in circles":
                return [_answer(number, question, [_row(b"\xc0\x0c" * 40, 16, b"")], 0)]
            case "many":
                return [_answer(number, question, rows, 0, count=65_535)]
        return [whole]


def _name(query: bytes) -> tuple[str, int]:
    labels, at = [], 12
    while size := query[at]:
        labels.append(query[at + 1 : at + 1 + size].decode())
        at += 1 + size
    return ".".join(labels), at + 1


def _row(name: bytes, kind: int, data: bytes) -> bytes:
    return name + struct.pack(">HHIH", kind, 1, 60, len(data)) + data


def _pieces(text: str) -> bytes:
    """A text in pieces of at most 20 bytes."""
    data = text.encode()
    parts = [data[at : at + 20] for at in range(0, len(data), 20)]
    return b"".join(bytes((len(part),)) + part for part in parts)


def _answer(
    number: bytes, question: bytes, rows: list[bytes], flags: int, *, count: int | None = None
) -> bytes:
    many = len(rows) if count is None else count
    return number + struct.pack(">5H", 0x8180 | flags, 1, many, 0, 0) + question + b"".join(rows)


@contextmanager
def nameserver() -> Iterator[Nameserver]:
    """Serve until the block ends."""
    tcp = socket.create_server(("127.0.0.1", 0))
    server = Nameserver(tcp.getsockname()[1])
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", server.port))
    over = threading.Event()

    def by_udp() -> None:
        while True:
            query, client = udp.recvfrom(4096)
            if over.is_set():
                return
            for reply in server.replies(query, "udp"):
                udp.sendto(reply, client)

    def by_tcp() -> None:
        with suppress(OSError):
            while True:
                client, _ = tcp.accept()
                with client:
                    query = client.recv(4096)[2:]
                    for reply in server.replies(query, "tcp"):
                        client.sendall(struct.pack(">H", len(reply)) + reply)

    threads = [threading.Thread(target=serve, daemon=True) for serve in (by_udp, by_tcp)]
    for thread in threads:
        thread.start()
    try:
        yield server
    finally:
        over.set()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", ("127.0.0.1", server.port))
        tcp.shutdown(socket.SHUT_RDWR)
        tcp.close()
        for thread in threads:
            thread.join()
        udp.close()
