"""TXT records of a name, from the system's nameservers."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Final

from atdata.errors import SourceError
from atdata.system.forks import load_module

Server = tuple[str, int]
"""Host, or its address, and port."""

_PORT: Final = 53
_MAX_SERVERS: Final = 3
_ROUNDS: Final = 2
"""How often each server is asked while none of them answers."""
_ANSWER_SECONDS: Final = 2.0
"""How long one server may take for one answer."""


def system_servers() -> list[Server]:
    """The nameservers that this machine is configured with, at most three; may be empty."""
    resolver = load_module("dns.resolver")
    try:
        found = resolver.Resolver().nameservers
    except (resolver.dns.exception.DNSException, OSError, ValueError):
        return []
    return [(str(address), _PORT) for address in found][:_MAX_SERVERS]


def txt_records(
    name: str, servers: Sequence[Server], *, answer_seconds: float = _ANSWER_SECONDS
) -> list[str]:
    """The TXT records of a name in ASCII, each as one text; none where it has none or is invalid.

    Raises:
        SourceError: None of the servers, which are asked in turn, answers.
    """
    # On first use: it takes longer to load than most commands take to run.
    resolver = load_module("dns.resolver")
    nameserver = load_module("dns.nameserver")
    dns = resolver.dns
    try:
        whole = dns.name.from_text(name)
    except dns.exception.DNSException:
        return []
    try:
        asked = resolver.Resolver(configure=False)
        asked.nameservers = [nameserver.Do53Nameserver(_address(s), s[1]) for s in servers]
        asked.timeout = answer_seconds
        asked.lifetime = answer_seconds * _ROUNDS * len(servers)
        answer = asked.resolve(whole, "TXT", raise_on_no_answer=False, search=False)
    except resolver.NXDOMAIN:
        return []
    except (dns.exception.DNSException, OSError, ValueError) as error:
        hosts = ", ".join(host for host, _ in servers)
        raise SourceError(f"{name}: no nameserver answers ({hosts}).") from error
    return [b"".join(row.strings).decode(errors="replace") for row in answer.rrset or ()]


def _address(server: Server) -> str:
    found = socket.getaddrinfo(*server, type=socket.SOCK_DGRAM)
    return str(found[0][4][0])
