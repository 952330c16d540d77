"""Handle → DID, an account's permanent id: from a server, DNS, or a file on its host.

A claim is only half of the proof: the DID's document has to name the handle too, see `identity`.
On a network of your own, ``ATDATA_PDS_URL`` names one of its servers, which resolves handles.
Otherwise DNS does, or the file ``/.well-known/atproto-did``. ``ATDATA_DNS_URL`` replaces the
system's nameserver.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from urllib3.exceptions import HTTPError

from atdata._limits import limits
from atdata._refs import is_did
from atdata.errors import AtmosphereError, NotFoundError, OptionError, SourceError, UrlError
from atdata.net.deadlines import within
from atdata.net.dns import Server, system_servers, txt_records
from atdata.net.documents import read_whole
from atdata.net.http import get_json
from atdata.net.policy import Policy
from atdata.net.retries import Retries, RetryPolicy
from atdata.net.transport import fetch

PDS_URL: Final = "ATDATA_PDS_URL"
"""Environment variable: the server to log in to, which also resolves handles."""
DNS_URL: Final = "ATDATA_DNS_URL"
"""Environment variable: ``dns://host:port``, or ``https://…`` of one that answers in JSON."""
_PUBLIC_DNS: Final = "https://dns.google/resolve"
_SILENT_SECONDS: Final = 10.0
_MAX_DID_FILE_BYTES: Final = 2100
# Reserved names, which public DNS never has: RFC 2606, RFC 6761, RFC 6762, RFC 9476.
NOT_PUBLIC: Final = (
    ".test",
    ".example",
    ".invalid",
    ".localhost",
    ".local",
    ".internal",
    ".alt",
    ".onion",
    ".arpa",
)


def claimed_did(handle: str, policy: Policy) -> str | None:
    """The DID that a handle, in lower case and without ``@``, claims; None if it claims none.

    Raises:
        AtmosphereError: The server of ``ATDATA_PDS_URL`` does not answer.
    """
    server = os.environ.get(PDS_URL)
    if server and (did := _by_server(handle, server.rstrip("/"))):
        return did
    dns, private = os.environ.get(DNS_URL), handle.endswith(NOT_PUBLIC)
    if private and not dns:
        return None
    # DNS precedes the file, and conflicting records are invalid: https://atproto.com/specs/handle
    if found := _by_dns(handle, dns):
        return found.pop() if len(found) == 1 else None
    return None if private else _by_file(handle, policy)


def _by_server(handle: str, server: str) -> str | None:
    method = "com.atproto.identity.resolveHandle"
    try:
        answer = get_json(
            f"{server}/xrpc/{method}", params={"handle": handle}, timeout=_SILENT_SECONDS
        )
    except (SourceError, NotFoundError) as error:
        if isinstance(error.__cause__, HTTPError):
            raise AtmosphereError(f"{handle} cannot be looked up: {error}") from error
        return None
    return _as_did(answer.get("did")) if isinstance(answer, Mapping) else None


def _by_file(handle: str, policy: Policy) -> str | None:
    url = f"https://{handle}/.well-known/atproto-did"
    retries = Retries(url, RetryPolicy(attempts=2, total_seconds=_SILENT_SECONDS))
    headers = {"Accept": "text/plain"}
    try:
        with within(limits.document_seconds, url):
            response = fetch(
                url, headers, name=url, retries=retries, policy=policy, timeout=_SILENT_SECONDS
            )
            try:
                text = read_whole(response, most=_MAX_DID_FILE_BYTES, name=url)
            finally:
                response.close()
    except (HTTPError, SourceError, UrlError, NotFoundError):
        return None
    return _as_did(text.decode(errors="replace").strip())


def _by_dns(handle: str, resolver: str | None) -> set[str]:
    name, known = f"_atproto.{handle}", system_servers()
    try:
        if resolver and resolver.startswith("dns://"):
            texts = txt_records(name, [_nameserver(resolver)])
        elif resolver or not known:
            texts = _over_https(name, resolver or _PUBLIC_DNS)
        else:
            texts = txt_records(name, known)
    except (SourceError, NotFoundError):
        return set()
    found = {_as_did(text.removeprefix("did=")) for text in texts if text.startswith("did=")}
    return {did for did in found if did is not None}


def _nameserver(url: str) -> Server:
    try:
        parts = urlsplit(url)
        return parts.hostname or "", parts.port or 53
    except ValueError as error:
        raise OptionError(f"{DNS_URL}={url!r}: {error}.") from error


def _over_https(name: str, server: str) -> list[str]:
    answer = get_json(server, params={"name": name, "type": "TXT"}, timeout=_SILENT_SECONDS)
    rows = answer.get("Answer") if isinstance(answer, Mapping) else None
    rows = rows if isinstance(rows, list) else []
    # A long text comes in several pairs of quotes.
    datas = (str(row.get("data", "")) for row in rows if isinstance(row, Mapping))
    return [data.replace('" "', "").strip('"') for data in datas]


def _as_did(text: object) -> str | None:
    return text if isinstance(text, str) and is_did(text) else None
