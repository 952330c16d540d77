"""Typed values out of a record; each error starts with the path of the value."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from atdata.errors import RecordError


def strings(value: object, path: str, most: int) -> list[str]:
    """A list of at most ``most`` str."""
    items = sequence(value, path)
    if len(items) > most:
        raise RecordError(f"{path}: {len(items):,} items; at most {most:,} are allowed.")
    for i, item in enumerate(items):
        if not isinstance(item, str):
            raise RecordError(f"{path}[{i}]: expected a str, found {shown(item)}.")
    return items


def text(record: Mapping[str, Any], key: str, path: str) -> str | None:
    """An optional str."""
    value = record.get(key)
    if value is not None and not isinstance(value, str):
        raise RecordError(f"{path}.{key}: expected a str, found {shown(value)}.")
    return value


def count(record: Mapping[str, Any], key: str, path: str) -> int | None:
    """An optional whole number from 0 up."""
    value = record.get(key)
    if value is not None and (type(value) is not int or not 0 <= value < 2**53):
        raise RecordError(f"{path}.{key}: expected a whole number, found {shown(value)}.")
    return value


def mapping(value: object, path: str) -> Mapping[str, Any]:
    """An object."""
    if not isinstance(value, Mapping):
        raise RecordError(f"{path}: expected an object, found {shown(value)}.")
    return value


def sequence(value: object, path: str) -> list[Any]:
    """A list."""
    if not isinstance(value, list):
        raise RecordError(f"{path}: expected a list, found {shown(value)}.")
    return value


def time(value: object, path: str) -> datetime:
    """A time, in UTC."""
    try:
        parsed = datetime.fromisoformat(value)  # type: ignore[arg-type]
        return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    except (TypeError, ValueError, OverflowError):
        raise RecordError(f"{path}: expected a time, found {shown(value)}.") from None


def shown(value: object) -> str:
    """A value, or else its type, for an error message."""
    if isinstance(value, (str, int)):
        return f"{value!r:.60}"
    return "nothing" if value is None else type(value).__name__
