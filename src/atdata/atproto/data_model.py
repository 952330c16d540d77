"""What a record may hold, checked before it is sent.

The reference server stores a float as an integer, NaN as null and bytes as text without a
word, and fails on a large integer: https://atproto.com/specs/data-model
"""

from __future__ import annotations

import binascii
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgpack

from atdata._limits import limits
from atdata._nesting import value_is_deeper
from atdata._secrets import find_secret
from atdata.errors import DecodeError, RecordError, SecretUrlError
from atdata.samples.wire import unpack_map

MAX_RECORD: Final = 100_000
"""Largest record, in bytes of JSON."""
MAX_METADATA: Final = 100_000
"""Largest metadata, in bytes of msgpack."""
_INTEGERS: Final = range(-(2**53) + 1, 2**53)


def check_record(record: Mapping[str, Any]) -> None:
    """Let a record pass that every server stores as it is.

    Raises:
        RecordError: Says at which path the data model is left, or that it is too large.
        SecretUrlError: Some text in it has a URL that carries a secret.
    """
    _check(record, "$", 0)
    size = record_size(record)
    if size > MAX_RECORD:
        raise RecordError(
            f"The record {record.get('name', '')!r:.80} would have {size:,} bytes; at most "
            f"{MAX_RECORD:,} are allowed. Shorten metadata and description, or write fewer, "
            "larger shards with maxcount= or maxsize=."
        )


def refuse_secret(value: Any, path: str) -> None:
    """Let a text pass, and whatever is in a list or a dict, whose URLs carry no secrets.

    Raises:
        SecretUrlError: Says at which path, and what it is, without showing it.
    """
    match value:
        case str():
            if kind := find_secret(value):
                raise SecretUrlError(
                    f"{path}: has a URL that carries a secret ({kind}), which everyone could read. "
                    "Leave it out. Nothing was published."
                )
        case list() | tuple():
            for i, item in enumerate(value):
                refuse_secret(item, f"{path}[{i}]")
        case Mapping():
            for key, item in value.items():
                refuse_secret(key, f"{path} key")
                refuse_secret(item, f"{path}.{key}")


def record_size(record: Mapping[str, Any]) -> int:
    """Size of a record in bytes of JSON."""
    return len(json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode())


def _check(value: Any, path: str, depth: int) -> None:
    if depth > limits.record_nesting:
        raise RecordError(f"{path[:200]}: nested more than {limits.record_nesting} deep.")
    match value:
        case None | bool():
            pass
        case str():
            if any("\ud800" <= c <= "\udfff" for c in value):
                raise RecordError(f"{path}: expected Unicode text, found lone surrogates.")
            refuse_secret(value, path)
        case int():
            if value not in _INTEGERS:
                raise RecordError(f"{path}: {value} does not fit in 53 bits.")
        case list() | tuple():
            for i, item in enumerate(value):
                _check(item, f"{path}[{i}]", depth + 1)
        case Mapping():
            for key, item in value.items():
                if not isinstance(key, str):
                    raise RecordError(f"{path}: expected str as a key, found {key!r:.60}.")
                _check(item, f"{path}.{key}", depth + 1)
        case float():
            raise RecordError(
                f"{path}: records of the network hold no floats, found {value}. Put it in "
                "metadata= of the dataset, or write it as a str."
            )
        case _:
            raise RecordError(f"{path}: a record cannot hold {type(value).__name__}.")


def bytes_to_json(data: bytes) -> dict[str, str]:
    """Bytes as records have them: base64 under ``$bytes``."""
    return {"$bytes": b64encode(data).decode().rstrip("=")}


def bytes_from_json(value: Any, path: str) -> bytes:
    """The opposite of `bytes_to_json`.

    Raises:
        RecordError: Not bytes.
    """
    text = value.get("$bytes") if isinstance(value, Mapping) else None
    if not isinstance(text, str):
        raise RecordError(f"{path}: expected bytes, found {type(value).__name__}.")
    try:
        return b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (ValueError, binascii.Error):
        raise RecordError(f"{path}: expected base64, found something else.") from None


def pack_metadata(metadata: Mapping[str, Any]) -> bytes:
    """Metadata, checked by `Details`, as msgpack.

    Raises:
        RecordError: Over MAX_METADATA bytes.
        SecretUrlError: A URL in them carries a secret.
    """
    refuse_secret(metadata, "metadata $")
    packed: bytes = msgpack.packb(dict(metadata))
    if len(packed) > MAX_METADATA:
        raise RecordError(
            f"metadata: {len(packed):,} bytes; at most {MAX_METADATA:,} are allowed. "
            "Put large things into the samples."
        )
    return packed


def unpack_metadata(value: Any, path: str) -> dict[str, Any]:
    """The metadata of a record.

    Raises:
        RecordError: Not the msgpack of a map with str keys, or over limits.metadata bytes.
    """
    packed = bytes_from_json(value, path)
    if len(packed) > limits.metadata:
        raise RecordError(
            f"{path}: {len(packed):,} bytes; at most {limits.metadata:,} are allowed."
        )
    try:
        metadata = unpack_map(packed)
    except DecodeError as error:
        raise RecordError(f"{path}: expected a msgpack map with str keys: {error}.") from None
    if value_is_deeper(metadata, limits.record_nesting):
        raise RecordError(f"{path}: nested more than {limits.record_nesting} deep.")
    return metadata


def now() -> str:
    """The time as records have it."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
