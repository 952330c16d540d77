"""Checks of a record before it is sent: types, sizes, nesting, secrets.

The reference server silently stores a float as an integer, NaN as null and bytes as text, and
fails on a large integer: https://atproto.com/specs/data-model
"""

from __future__ import annotations

import binascii
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from atdata._limits import limits
from atdata._secrets import find_secret
from atdata.errors import RecordError, SecretUrlError

MAX_RECORD: Final = 100_000
"""Largest record, in bytes of JSON."""
_INTEGERS: Final = range(-(2**53) + 1, 2**53)


def check_record(record: Mapping[str, Any]) -> None:
    """Check that every server will store this record unchanged.

    Raises:
        RecordError: It is too large, or has a value outside the data model; names the path.
        SecretUrlError: Text in it has a URL that carries a secret.
    """
    _check(record, "$", 0)
    size = record_size(record)
    if size > MAX_RECORD:
        raise RecordError(
            f"The record {record.get('name', '')!r:.80} would have {size:,} bytes; at most "
            f"{MAX_RECORD:,} are allowed. Shorten its text and its lists."
        )


def refuse_secret(value: Any, path: str) -> None:
    """Refuse text, also inside lists and dicts, with a URL that carries a secret.

    Raises:
        SecretUrlError: Names the path and the kind of secret, without showing it.
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
    """The size of a record, in bytes of JSON."""
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
            raise RecordError(f"{path}: records hold no floats, found {value}. Write it as a str.")
        case _:
            raise RecordError(f"{path}: a record cannot hold {type(value).__name__}.")


def bytes_to_json(data: bytes) -> dict[str, str]:
    """The JSON form of bytes: base64 under ``$bytes``."""
    return {"$bytes": b64encode(data).decode().rstrip("=")}


def bytes_from_json(value: Any, path: str) -> bytes:
    """Bytes from their JSON form; anything else is a RecordError."""
    text = value.get("$bytes") if isinstance(value, Mapping) else None
    if not isinstance(text, str):
        raise RecordError(f"{path}: expected bytes, found {type(value).__name__}.")
    try:
        return b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (ValueError, binascii.Error):
        raise RecordError(f"{path}: expected base64, found something else.") from None


def now() -> str:
    """The current time in the form of records."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
