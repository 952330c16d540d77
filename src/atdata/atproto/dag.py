"""A record's two forms: JSON, as servers send it, and DAG-CBOR, whose hash is its CID.

https://atproto.com/specs/data-model
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import libipld

from atdata._digest import cid_sha256
from atdata._limits import limits
from atdata._nesting import value_is_deeper
from atdata.atproto.data_model import bytes_from_json, bytes_to_json
from atdata.errors import RecordError, RefError

CID_SIZE: Final = 36
CID_STARTS: Final = (b"\x01\x71\x12\x20", b"\x01\x55\x12\x20")
"""How CIDs of records and of blobs start."""
_CONTAINER_STARTS: Final = bytes(range(0x80, 0xC0))
"""The bytes that a list or a map can start with."""


def decoded(block: bytes) -> Any:
    """Decode a block of DAG-CBOR.

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
    """Refuse a value that is too deep for the recursive functions here, with a RecordError."""
    if value_is_deeper(value, limits.record_nesting):
        raise RecordError(f"A block is nested more than {limits.record_nesting} deep.")


def to_json(value: Any) -> Any:
    """The JSON form of a record, with links and bytes as ``$link`` and ``$bytes``.

    libipld decodes links to bytes, so bytes that look like a CID become a link. The bytes in
    records that atdata writes are msgpack maps, which never start as a CID does.
    """
    if isinstance(value, bytes):
        if len(value) == CID_SIZE and value[:4] in CID_STARTS:
            return {"$link": libipld.encode_cid(value)}
        return bytes_to_json(value)
    if isinstance(value, dict):
        return {name: to_json(item) for name, item in value.items()}
    if isinstance(value, list):
        return [to_json(item) for item in value]
    return value


def cid_of(record: Mapping[str, Any]) -> str:
    """The CID of a record in JSON form; a RecordError for a value outside the data model."""
    check_depth(record)
    try:
        block = _encoded(record)
    except (TypeError, ValueError, AttributeError) as error:
        if isinstance(error, RecordError):
            raise
        raise RecordError(f"A record cannot be encoded ({type(error).__name__}).") from error
    cid: str = libipld.encode_cid(CID_STARTS[0] + hashlib.sha256(block).digest())
    return cid


def most_containers(block: bytes) -> int:
    """An upper bound of the lists and maps in DAG-CBOR: each takes 1 byte there, 64 in memory."""
    return len(block) - len(block.translate(None, _CONTAINER_STARTS))


def link(cid: bytes) -> bytes:
    """The DAG-CBOR of a CID, which libipld would encode as plain bytes."""
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
        return _container_start(0xA0, len(items)) + b"".join(items)
    if isinstance(value, list):
        return _container_start(0x80, len(value)) + b"".join(map(_encoded, value))
    return bytes(libipld.encode_dag_cbor(value))


def _container_start(kind: int, count: int) -> bytes:
    """The first bytes of a map or list: an encoded integer with another kind."""
    number = bytes(libipld.encode_dag_cbor(count))
    return bytes((kind | number[0],)) + number[1:]


def _cid(text: object) -> bytes:
    try:
        cid_sha256(text if isinstance(text, str) else "")
    except RefError as error:
        raise RecordError(f"$link: {error}") from None
    return bytes(libipld.decode_multibase(str(text))[1])
