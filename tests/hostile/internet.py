"""An internet for one machine: names, addresses, and one public server behind all of them.

What a program asks the system for goes through here: which name it resolves, and which
address it then connects to. Public addresses lead to a server of this test over real
sockets and real TLS; any other connection is refused, and remembered.
"""

from __future__ import annotations

import datetime
import itertools
import socket
import ssl
import threading
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PUBLIC = "93.184.216.34"
NAMES = {
    "public.example": [PUBLIC],
    "evil.example": [PUBLIC],
    "someone.com": [PUBLIC],
    "alice.someone.com": [PUBLIC],
    "plc.someone.com": [PUBLIC],
    "private.someone.com": ["10.0.0.7"],
    "bucket.s3.amazonaws.com": [PUBLIC],
    "someones-bucket.s3.amazonaws.com": [PUBLIC],
    "private.example": ["10.0.0.7"],
    "xn--prvat-wva.example": ["10.0.0.7"],
    "loopback.example": ["127.0.0.1"],
    "metadata.example": ["169.254.169.254"],
    "mapped.example": ["::ffff:127.0.0.1"],
    "mixed.example": [PUBLIC, "127.0.0.1"],
    "localhost": ["127.0.0.1"],
}
_turns = itertools.count()
_numeric = socket.getaddrinfo


def resolve(host: Any, port: Any, *args: Any, **options: Any) -> list[Any]:
    """As `socket.getaddrinfo`, for the names above and for addresses in any notation."""
    name = host.decode("latin-1") if isinstance(host, bytes) else host
    if name == "rebind.example":
        found = [PUBLIC if next(_turns) == 0 else "127.0.0.1"]
    elif isinstance(name, str) and name.lower() in NAMES:
        found = NAMES[name.lower()]
    else:
        return _numeric(host, port, *args, **{**options, "flags": socket.AI_NUMERICHOST})
    return [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0))
        if ":" in address
        else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
        for address in found
    ]


def routed(
    leads_to: int, asked: Callable[[str], None], own: Collection[int] = ()
) -> type[socket.socket]:
    """A socket class whose connections to public addresses lead to a port of this machine.

    Args:
        leads_to: The port.
        asked: Is told each address before anything is done.
        own: Ports of this machine that are connected to as they are.
    """

    class Routed(socket.socket):
        leads_to = 0

        def connect(self, address: Any) -> None:
            if address in [("127.0.0.1", port) for port in own]:
                super().connect(address)
                return
            asked(str(address[0]) if isinstance(address, tuple) else str(address))
            if not isinstance(address, tuple) or address[0] != PUBLIC:
                raise ConnectionRefusedError(111, "refused by the test")
            super().connect(("127.0.0.1", leads_to))

    return Routed


def certificate(folder: Path) -> Path:
    """A certificate for every name above, with its key; returns the file to trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "public.example")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName(n) for n in NAMES]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    form = serialization.PrivateFormat.PKCS8
    (folder / "key.pem").write_bytes(key.private_bytes(pem, form, serialization.NoEncryption()))
    (folder / "certificate.pem").write_bytes(made.public_bytes(pem))
    return folder / "certificate.pem"


class PublicServer:
    """Answers every request with the same bytes, over TLS, and remembers what it was sent."""

    def __init__(self, folder: Path) -> None:
        self.trusted = certificate(folder)
        self.answer = b""
        self.document = b""
        """Answer to what is no call of the protocol; none: as to the rest."""
        self.asked: list[str] = []
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(self.trusted, folder / "key.pem")
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            try:
                connection.settimeout(5)
                with self._context.wrap_socket(connection, server_side=True) as client:
                    request = b""
                    while b"\r\n\r\n" not in request and (data := client.recv(65536)):
                        request += data
                    self.asked.append(request.decode("latin-1"))
                    is_call = b" /xrpc/" in request.partition(b"\r\n")[0]
                    client.sendall(self.answer if is_call or not self.document else self.document)
            except OSError:
                connection.close()
