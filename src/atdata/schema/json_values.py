"""JSON values of a schema record, checked. Each error starts with the path of the value."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from atdata._limits import limits
from atdata._nesting import value_is_deeper
from atdata.errors import SchemaError


def as_object(value: object, path: str) -> Mapping[str, Any]:
    """An object: a mapping with str keys."""
    if not isinstance(value, Mapping) or any(type(key) is not str for key in value):
        raise wrong(path, "an object", value)
    return value


def as_name(value: object, path: str) -> str:
    """A name: printable, so that a terminal can show it safely."""
    most = limits.name_length
    if not isinstance(value, str) or not 1 <= len(value) <= most or not value.isprintable():
        raise wrong(path, f"1 to {most} printable characters", value)
    return value


def as_text(value: object, path: str) -> str | None:
    """Text without lone surrogates; None if there is none."""
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > limits.text:
        raise wrong(path, f"at most {limits.text:,} characters", value)
    if any("\ud800" <= c <= "\udfff" for c in value):
        raise wrong(path, "Unicode text", value)
    return value


def as_bool(value: object, path: str) -> bool:
    """A JSON boolean; 0 and 1 are refused."""
    if not isinstance(value, bool):
        raise wrong(path, "true or false", value)
    return value


def as_json(value: object, path: str, limit: int) -> str:
    """A value as JSON text of at most ``limit`` characters."""
    if value_is_deeper(value, limits.record_nesting):
        raise wrong(path, f"JSON of at most {limits.record_nesting} levels", value)
    try:
        text = json.dumps(value, allow_nan=False, sort_keys=True)
    except (TypeError, ValueError):
        raise wrong(path, "JSON", value) from None
    if len(text) > limit:
        raise SchemaError(f"{path}: {len(text):,} characters; at most {limit:,} are allowed.")
    return text


def as_choices(value: object, path: str) -> tuple[str, ...]:
    """The values of an enum: each a str, none twice."""
    if not isinstance(value, list) or not 1 <= len(value) <= limits.choices:
        raise wrong(path, f"a list of 1 to {limits.choices:,} str", value)
    seen: set[object] = set()
    for i, choice in enumerate(value):
        if as_text(choice, f"{path}[{i}]") is None or choice in seen:
            raise wrong(f"{path}[{i}]", "a str that is not in the list yet", choice)
        seen.add(choice)
    return tuple(value)


def as_shape(value: object, path: str) -> tuple[int | None, ...] | None:
    """The shape of an array: a length or null for each axis; None if there is no shape."""
    if value is None:
        return None
    if not isinstance(value, list) or len(value) > limits.array_dimensions:
        raise wrong(path, f"a list of at most {limits.array_dimensions} lengths", value)
    for i, length in enumerate(value):
        # Numbers of a record are exact up to here.
        if length is not None and (type(length) is not int or not 0 <= length < 2**53):
            raise wrong(f"{path}[{i}]", "a length or null", length)
    return tuple(value)


def wrong(path: str, expected: str, found: object) -> SchemaError:
    """The error for a value of the wrong type or range."""
    if isinstance(found, (str, bool)):
        shown = f"{found!r:.60}"
    elif isinstance(found, int):
        shown = f"{found}" if abs(found) < 2**64 else "an int of more than 64 bits"
    else:
        shown = "nothing" if found is None else type(found).__name__
    return SchemaError(f"{path}: expected {expected}, found {shown}.")
