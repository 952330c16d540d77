"""SHA-256 of shards; CIDs of records and blobs."""

from __future__ import annotations

import hashlib
from base64 import b32decode, b32encode
from collections.abc import Mapping
from typing import IO, Any, Final

from atdata.errors import RefError
from atdata.system.forks import importing

RAW: Final = 0x55
"""Multicodec of raw bytes, for blobs."""
DAG_CBOR: Final = 0x71
"""Multicodec of DAG-CBOR, for records."""
_SHA2_256: Final = b"\x12\x20"
_CHUNK_BYTES: Final = 1 << 20


def sha256_of(stream: IO[bytes]) -> tuple[str, int]:
    """The SHA-256, in lower-case hex, and the size of what is left of a stream."""
    digest, size = hashlib.sha256(), 0
    while chunk := stream.read(_CHUNK_BYTES):
        digest.update(chunk)
        size += len(chunk)
    return digest.hexdigest(), size


def _cid(codec: int, digest: bytes) -> str:
    body = bytes((1, codec)) + _SHA2_256 + digest
    return "b" + b32encode(body).decode("ascii").rstrip("=").lower()


def blob_cid(sha256: str) -> str:
    """CID of a blob whose bytes have this SHA-256 (hex): version 1, raw, base32."""
    return _cid(RAW, bytes.fromhex(sha256))


def record_cid(record: Mapping[str, Any]) -> str:
    """CID of a record: version 1, SHA-256 of its DAG-CBOR, base32.

    Args:
        record: The data model of AT Protocol, without ``$link`` or ``$bytes``: str, int, bool,
            None, bytes, lists, and dicts with str keys. No floats.
    """
    with importing():
        import libipld

    encoded: bytes = libipld.encode_dag_cbor(dict(record))
    return _cid(DAG_CBOR, hashlib.sha256(encoded).digest())


def is_cid(text: str) -> bool:
    """Whether this is a CID of version 1 in base32 with SHA-256."""
    try:
        cid_sha256(text)
    except RefError:
        return False
    return True


def cid_sha256(cid: str, *, codec: int | None = None) -> str:
    """The SHA-256 (hex) inside a CID.

    Raises:
        RefError: It is not a CID of version 1 in base32 with SHA-256, or has another codec.
    """
    try:
        if not cid.startswith("b"):
            raise ValueError("no base32 prefix")
        text = cid[1:].upper()
        body = b32decode(text + "=" * (-len(text) % 8))
    except ValueError as error:
        raise RefError(f"{cid!r} is not a CID of version 1 in base32.") from error
    canonical = len(body) == 36 and body[0] == 1 and body[2:4] == _SHA2_256
    if not canonical or (codec is not None and body[1] != codec) or _cid(body[1], body[4:]) != cid:
        raise RefError(f"{cid!r} is not a CID of version 1 with SHA-256 and the codec expected.")
    return body[4:].hex()
