"""Handle → DID → server, each step checked.

https://atproto.com/specs/handle and https://atproto.com/specs/did

On a network of your own, ``ATDATA_PLC_URL`` names its directory.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

from atdata._refs import account_of, is_did, is_handle, unseen_in
from atdata.errors import (
    AtmosphereError,
    IdentityError,
    NotFoundError,
    SourceError,
    UnsafeUrlError,
)
from atdata.net.handles import NOT_PUBLIC, PDS_URL, claimed_did
from atdata.net.http import get_json
from atdata.net.policy import STRANGER, Policy
from atdata.system.forks import importing

PLC_URL: Final = "ATDATA_PLC_URL"
"""Environment variable: the directory of a network of your own."""
_PUBLIC_PLC: Final = "https://plc.directory"
_SILENT_SECONDS: Final = 10.0
_WEB_HOST: Final = re.compile(r"[A-Za-z0-9.-]{1,253}(:\d{1,5})?")
_OLD_KEY_TYPES: Final = {
    "EcdsaSecp256k1VerificationKey2019": b"\xe7\x01",
    "EcdsaSecp256r1VerificationKey2019": b"\x80\x24",
}
"""Older type of a key in a document → the multicodec of its curve."""


def plc_url() -> str:
    """The directory of did:plc identities."""
    return (os.environ.get(PLC_URL) or _PUBLIC_PLC).rstrip("/")


def network_policy() -> Policy:
    """The gate for servers that identity documents name.

    If the user named a directory with a plain http URL, it is of a network of their own, on this
    machine or in a private network, and so are its servers.
    """
    return Policy(allow_private=True) if plc_url().startswith("http://") else STRANGER


def resolve_handle(handle: str) -> str:
    """The DID of a handle, with ``@`` or without, checked in both directions.

    Raises:
        IdentityError: Not a handle, it does not resolve, or its DID's document does not name it.
        AtmosphereError: The directory cannot be reached.
    """
    name = account_of(handle).lower()
    if not is_handle(name):
        raise IdentityError(
            f"{handle!r} is not a handle. A handle is a domain name, such as alice.example.com."
            f"{unseen_in(name)}"
        )
    did = claimed_did(name, network_policy())
    if did is None:
        hint = f" Set {PDS_URL} to a server that knows it." if name.endswith(NOT_PUBLIC) else ""
        raise IdentityError(f"The handle {name!r} does not resolve to an account.{hint}")
    verify(name, did)
    return did


def verify(handle: str, did: str) -> None:
    """Check that a DID's document names this handle. Errors are those of `resolve_handle`."""
    if f"at://{handle.removeprefix('@').lower()}" not in _names(did):
        raise IdentityError(
            f"The handle {handle!r} points to {did}, whose document does not name it. "
            "Use the DID if you know that it is the account you mean."
        )


def server_of(did: str) -> str:
    """URL of the server that currently has an account's records and blobs; accounts move.

    Raises:
        IdentityError: Not a DID, there is no such account, or its document names no server.
        AtmosphereError: The directory cannot be reached.
    """
    for service in _parts(did, "service", "#atproto_pds"):
        return _origin(service.get("serviceEndpoint"), did)
    raise IdentityError(f"The document of {did} names no server (#atproto_pds).")


def signing_key(did: str) -> bytes:
    """The key that currently signs an account's commits.

    Returns:
        35 bytes: two for the curve (e7 01: k256, 80 24: p256), then the compressed point.

    Raises:
        IdentityError: There is no such account, or its document names no key (#atproto).
        AtmosphereError: The directory cannot be reached.
    """
    for method in _parts(did, "verificationMethod", "#atproto"):
        if (key := _key(method.get("publicKeyMultibase"), method.get("type"))) is not None:
            return key
    raise IdentityError(f"The document of {did} names no key for its commits (#atproto).")


def _key(text: object, kind: object) -> bytes | None:
    """A key of a document: https://atproto.com/specs/cryptography#public-key-encoding"""
    with importing():
        import libipld

    try:
        short = text if isinstance(text, str) and len(text) < 200 else ""
        raw = bytes(libipld.decode_multibase(short)[1])
    except ValueError:
        return None
    if kind == "Multikey":
        return raw if len(raw) == 35 and raw[:2] in _OLD_KEY_TYPES.values() else None
    # The older types hold the bare point, as x and y.
    curve = _OLD_KEY_TYPES.get(str(kind))
    if curve is None or len(raw) != 65 or raw[0] != 4:
        return None
    return curve + bytes((2 + raw[-1] % 2,)) + raw[1:33]


def verified_handle(did: str) -> str | None:
    """The handle that a DID's document names first, if it resolves to the DID; else None.

    Raises:
        IdentityError: There is no such account.
        AtmosphereError: The directory cannot be reached.
    """
    handles = [name.removeprefix("at://") for name in _names(did) if name.startswith("at://")]
    claimed = (
        is_handle(handles[0]) and claimed_did(handles[0], network_policy()) if handles else None
    )
    return handles[0] if claimed == did else None


def _origin(url: object, did: str) -> str:
    try:
        parts = urlsplit(url if isinstance(url, str) and len(url) < 1000 else "")
        proper = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        proper = None
    if not proper or parts.query or parts.fragment or "@" in parts.netloc:
        raise IdentityError(f"The document of {did} names a server that is not one: {url!r:.100}.")
    return f"{parts.scheme}://{parts.netloc}"


def _names(did: str) -> list[str]:
    """What a document says that its account is also known as, in lower case."""
    names = _document(did).get("alsoKnownAs")
    return [str(name).lower() for name in names] if isinstance(names, list) else []


def _parts(did: str, key: str, name: str) -> Iterator[Mapping[str, Any]]:
    """The parts of a document that have this name, which may follow the DID."""
    parts = _document(did).get(key)
    for part in parts if isinstance(parts, list) else []:
        if isinstance(part, Mapping) and part.get("id") in (name, f"{did}{name}"):
            yield part


def _document(did: str) -> Mapping[str, Any]:
    method = did.split(":")[1] if is_did(did) else ""
    if method == "plc":
        # The directory is trusted: the user chose it, or it is the public one.
        url, policy = f"{plc_url()}/{quote(did, safe=':')}", None
    elif method == "web":
        url, policy = f"{_web_origin(did)}/.well-known/did.json", network_policy()
    else:
        raise IdentityError(f"{did!r:.100} is not a DID of a method in use, did:plc or did:web.")
    try:
        document = get_json(url, policy=policy, timeout=_SILENT_SECONDS)
    except NotFoundError as error:
        raise IdentityError(f"There is no account {did} ({url}).") from error
    except UnsafeUrlError as error:
        raise IdentityError(f"{did} cannot be looked up: {error}") from error
    except SourceError as error:
        raise AtmosphereError(f"{did} cannot be looked up: {error}") from error
    if not isinstance(document, Mapping) or document.get("id") != did:
        raise IdentityError(f"{url} is not the document of {did}.")
    return document


def _web_origin(did: str) -> str:
    # An unescaped colon would begin a path: https://atproto.com/specs/did
    host = unquote(did.removeprefix("did:web:")) if did.count(":") == 2 else ""
    local = host.partition(":")[0] == "localhost"
    if not _WEB_HOST.fullmatch(host):
        raise IdentityError(f"{did!r:.100}: of did:web only did:web:host is in use.")
    return f"{'http' if local else 'https'}://{host}"
