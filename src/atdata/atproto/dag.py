"""A record's two forms: JSON, as servers answer it, and DAG-CBOR, whose hash is its CID.

https://atproto.com/specs/data-model
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Final

import libipld

from atdata._digest import cid_sha256
from atdata._limits import limits
from atdata._nesting import value_is_deeper
from atdata.atproto.data_model import bytes_from_json
from atdata.errors import RecordError, RefError

CID_SIZE: Final = 36
CID_STARTS: Final = (b"\x01\x71\x12\x20", b"\x01\x55\x12\x20")
"""What the CIDs in use begin with: of records, and of blobs."""
_HEADS: Final = bytes(range(0x80, 0xC0))
"""Bytes that a list or a map begins with."""


def decoded(block: bytes) -> Any:
    """What a block of DAG-CBOR holds.

    Raises:
        RecordError: Not DAG-CBOR, or nested more than ``limits.record_nesting`` deep.
    """
    try:
        value = libipld.decode_dag_cbor(block)
    except (ValueError, TypeError, RecursionError) as error:
        raise RecordError(f"A block is not DAG-CBOR ({type(error).__name__}).") from error
    check_depth(value)
    return value


def check_depth(value: Any) -> None:
    """Refuse a value that functions here would follow too deep.

    Raises:
        RecordError: It is nested more than ``limits.record_nesting`` deep.
    """
    if value_is_deeper(value, limits.record_nesting):
        raise RecordError(f"A block is nested more than {limits.record_nesting} deep.")


def to_json(value: Any) -> Any:
    """A record in its JSON form, links and bytes as ``$link`` and ``$bytes``.

    The decoder gives links as bytes. Bytes that look like a CID are taken for one: metadata,
    the only bytes in our records, never do, for a msgpack map does not begin with 1.
    """
    if isinstance(value, bytes):
        if len(value) == CID_SIZE and value[:4] in CID_STARTS:
            return {"$link": libipld.encode_cid(value)}
        return {"$bytes": b64encode(value).decode().rstrip("=")}
    if isinstance(value, dict):
        return {name: to_json(item) for name, item in value.items()}
    if isinstance(value, list):
        return [to_json(item) for item in value]
    return value


def cid_of(record: Mapping[str, Any]) -> str:
    """CID of a record in JSON form.

    Raises:
        RecordError: It holds what no record can.
    """
    check_depth(record)
    try:
        block = _encoded(record)
    except (TypeError, ValueError, AttributeError) as error:
        if isinstance(error, RecordError):
            raise
        raise RecordError(f"A record cannot be written ({type(error).__name__}).") from error
    cid: str = libipld.encode_cid(CID_STARTS[0] + hashlib.sha256(block).digest())
    return cid


def most_containers(block: bytes) -> int:
    """A number that DAG-CBOR has no more lists and maps than; one takes a byte there, 64 here."""
    return len(block) - len(block.translate(None, _HEADS))


def link(cid: bytes) -> bytes:
    """A CID as DAG-CBOR has it. The library would write what it has read as bytes."""
    return b"\xd8\x2a" + bytes(libipld.encode_dag_cbor(b"\0" + cid))


def _encoded(value: Any) -> bytes:
    if isinstance(value, Mapping):
        if set(value) == {"$link"}:
            return link(_cid(value["$link"]))
        if set(value) == {"$bytes"}:
            return bytes(libipld.encode_dag_cbor(bytes_from_json(value, "$")))
        # Shorter keys first: https://ipld.io/specs/codecs/dag-cbor/spec/#strictness
        pairs = sorted((len(key.encode()), key.encode(), key) for key in value)
        items = [_encoded(key) + _encoded(value[key]) for _, _, key in pairs]
        return _head(0xA0, len(items)) + b"".join(items)
    if isinstance(value, list):
        return _head(0x80, len(value)) + b"".join(map(_encoded, value))
    return bytes(libipld.encode_dag_cbor(value))


def _head(kind: int, count: int) -> bytes:
    """The first bytes of a map or list: those of a whole number, but for their kind."""
    number = bytes(libipld.encode_dag_cbor(count))
    return bytes((kind | number[0],)) + number[1:]


def _cid(text: object) -> bytes:
    try:
        cid_sha256(text if isinstance(text, str) else "")
    except RefError as error:
        raise RecordError(f"$link: {error}") from None
    return bytes(libipld.decode_multibase(str(text))[1])
