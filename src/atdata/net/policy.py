"""The policy for untrusted URLs: schemes, and addresses that they may reach.

A URL that the user typed is opened as it is (policy ``None``). A URL from a record of the
network is opened under a `Policy`.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from atdata._registry import SHARD_SCHEMES
from atdata._secrets import redacted
from atdata._shardlist import scheme_of
from atdata.errors import SourceError, UnsafeUrlError, UrlError

ALLOW_PRIVATE: Final = "ATDATA_ALLOW_PRIVATE"
"""Environment variable; ``1`` lets strangers' URLs lead to private addresses and use http."""
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_ISATAP: Final = frozenset({0x00005EFE, 0x02005EFE})
"""What precedes the embedded IPv4 address in a tunnel's IPv6 address: RFC 5214."""
_UNICAST: Final = ipaddress.ip_network("2000::/3")
"""The part of IPv6 that the public internet uses: https://www.rfc-editor.org/rfc/rfc4291"""
_OF_CLOUDS: Final = frozenset({ipaddress.ip_address("168.63.129.16")})
"""Public addresses at which a cloud serves only its own machines."""
_PORTS: Final = frozenset({80, 443})
"""Ports below 1024 that a stranger's URL may name: the others belong to other services."""

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Policy:
    """The gate that strangers' URLs pass.

    Args:
        allow_private: Whether loopback and private addresses, and http, are allowed. None
            asks the environment variable ``ATDATA_ALLOW_PRIVATE`` each time.
    """

    allow_private: bool | None = None

    @property
    def private_allowed(self) -> bool:
        """Whether loopback and private addresses, and http, are allowed now."""
        if self.allow_private is None:
            return os.environ.get(ALLOW_PRIVATE) == "1"
        return self.allow_private

    def check_url(self, url: str) -> None:
        """Refuse a URL that a stranger must not name.

        Raises:
            UnsafeUrlError: Its scheme is not allowed (``pipe:`` and local files never are), its
                host is hidden by a user's name, or its port is not one of web servers.
            UrlError: It cannot be parsed.
        """
        scheme = scheme_of(url)
        opened = ("always", "private") if self.private_allowed else ("always",)
        allowed = [name for name, row in SHARD_SCHEMES.ours.items() if row.from_network in opened]
        if scheme not in allowed:
            raise UnsafeUrlError(
                f"{redacted(url)[:200]!r} comes from the network and is not opened: such a URL "
                f"has one of the schemes {', '.join(allowed)}. If you trust it, open it by "
                "yourself with atdata.Dataset[...](url)."
            )
        if scheme in ("http", "https"):
            _check_authority(url)

    def addresses(self, host: str, port: int) -> list[str]:
        """Resolve a host; the caller connects to one of these and to nothing else.

        Returns:
            IP addresses, in the system's order of preference, each of the public internet
            unless private ones are allowed.

        Raises:
            UnsafeUrlError: One of the addresses is not public.
            SourceError: The name does not resolve.
        """
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, ValueError) as error:
            raise SourceError(f"The host {host!r} cannot be found: {error}") from error
        texts = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        if not self.private_allowed and (bad := [t for t in texts if not is_public(t)]):
            raise UnsafeUrlError(
                f"{host!r} leads to {bad[0]}, which is not an address of the public internet. "
                "A URL from the network must not reach into this machine or its network; set "
                f"{ALLOW_PRIVATE}=1 if it is meant to, for instance on a network of your own."
            )
        return texts


STRANGER: Final = Policy()
"""The policy for what records of the network name; the environment decides about private ones."""


def is_public(address: str) -> bool:
    """Whether an IP address, and any IPv4 address embedded in it, is of the public internet."""
    ip: _Address = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = [ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())]
        if int(ip) >> 32 & 0xFFFFFFFF in _ISATAP:
            inner.append(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF))
        if ip in _NAT64:
            inner.append(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF))
        if any(v4 is not None and not is_public(str(v4)) for v4 in inner):
            return False
        if ip.ipv4_mapped is not None or ip in _NAT64:
            return True
        if ip not in _UNICAST:
            return False
    return ip.is_global and not ip.is_multicast and ip not in _OF_CLOUDS


def _check_authority(url: str) -> None:
    """Refuse unusual ports, and a user's name before the host, which hides where a URL leads."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UrlError(
            f"{redacted(url)[:200]!r} is not a URL that can be opened: {error}."
        ) from error
    if "@" in parts.netloc or "\\" in parts.netloc or not parts.hostname:
        raise UnsafeUrlError(
            f"{redacted(url)[:200]!r} comes from the network and names no plain host."
        )
    if port is not None and port < 1024 and port not in _PORTS:
        raise UnsafeUrlError(
            f"{redacted(url)[:200]!r} comes from the network and names port {port}, which is not "
            "one of web servers."
        )


def same_origin(one: str, other: str) -> bool:
    """Whether two http(s) URLs have the same scheme, host and port."""
    return _origin(one) == _origin(other)


def _origin(url: str) -> tuple[str, str | None, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
