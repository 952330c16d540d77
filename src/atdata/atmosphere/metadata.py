"""A dataset's metadata as bytes of its record: a msgpack map, which can hold floats."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgpack

from atdata._limits import limits
from atdata._nesting import value_is_deeper
from atdata.atproto.data_model import bytes_from_json, refuse_secret
from atdata.errors import DecodeError, RecordError
from atdata.samples.wire import unpack_map

_MAX_METADATA_BYTES: Final = 100_000
"""Largest metadata that is written, in bytes of msgpack."""


def pack_metadata(metadata: Mapping[str, Any]) -> bytes:
    """Pack metadata, already checked by `DatasetSpec`, as msgpack.

    Raises:
        RecordError: More than _MAX_METADATA_BYTES.
        SecretUrlError: A URL in it carries a secret.
    """
    refuse_secret(metadata, "metadata $")
    packed: bytes = msgpack.packb(dict(metadata))
    if len(packed) > _MAX_METADATA_BYTES:
        raise RecordError(
            f"metadata: {len(packed):,} bytes; at most {_MAX_METADATA_BYTES:,} are allowed. "
            "Put large values into the samples."
        )
    return packed


def unpack_metadata(value: Any, path: str) -> dict[str, Any]:
    """Read the metadata of a record, from the JSON form of bytes.

    Raises:
        RecordError: Not a msgpack map with str keys, or more than limits.metadata bytes.
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
