"""Typed values from untrusted JSON; each error starts with the path of the value."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from atdata._limits import limits
from atdata._nesting import value_is_deeper
from atdata.errors import AtdataError, RecordError, SchemaError


class JsonChecks:
    """Checks that all raise one class of errors. A check returns the value that passes.

    Args:
        error: The class of the errors.
    """

    def __init__(self, error: type[AtdataError]) -> None:
        self._error = error

    def wrong(self, path: str, expected: str, found: object) -> AtdataError:
        """The error for a value that is not what was expected."""
        return self._error(f"{path}: expected {expected}, found {shown(found)}.")

    def mapping(self, value: object, path: str) -> Mapping[str, Any]:
        """An object."""
        if not isinstance(value, Mapping) or any(type(key) is not str for key in value):
            raise self.wrong(path, "an object", value)
        return value

    def sequence(self, value: object, path: str) -> list[Any]:
        """A list."""
        if not isinstance(value, list):
            raise self.wrong(path, "a list", value)
        return value

    def objects(self, value: object, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """The path and the value of each object in a list."""
        for number, item in enumerate(self.sequence(value, path)):
            at = f"{path}[{number}]"
            yield at, self.mapping(item, at)

    def strings(self, value: object, path: str, most: int) -> list[str]:
        """A list of at most ``most`` str."""
        items = self.sequence(value, path)
        if len(items) > most:
            raise self._error(f"{path}: {len(items):,} items; at most {most:,} are allowed.")
        for number, item in enumerate(items):
            if not isinstance(item, str):
                raise self.wrong(f"{path}[{number}]", "a str", item)
        return items

    def string(self, record: Mapping[str, Any], key: str, path: str) -> str | None:
        """What an object has under a key: a str of any length, or None."""
        value = record.get(key)
        if value is not None and not isinstance(value, str):
            raise self.wrong(f"{path}.{key}", "a str", value)
        return value

    def text(self, value: object, path: str) -> str | None:
        """A str of at most ``limits.text`` characters that UTF-8 can hold, or None."""
        if value is None:
            return None
        if not isinstance(value, str) or len(value) > limits.text:
            raise self.wrong(path, f"at most {limits.text:,} characters", value)
        if any("\ud800" <= c <= "\udfff" for c in value):
            raise self.wrong(path, "Unicode text", value)
        return value

    def name(self, value: object, path: str) -> str:
        """A name that a terminal can show."""
        most = limits.name_length
        if not isinstance(value, str) or not 1 <= len(value) <= most or not value.isprintable():
            raise self.wrong(path, f"1 to {most} printable characters", value)
        return value

    def boolean(self, value: object, path: str) -> bool:
        """True or False; 0 and 1 are neither."""
        if not isinstance(value, bool):
            raise self.wrong(path, "true or false", value)
        return value

    def count(self, record: Mapping[str, Any], key: str, path: str) -> int | None:
        """What an object has under a key: a whole number from 0 to 2**53 - 1, or None."""
        value = record.get(key)
        if value is not None and (type(value) is not int or not 0 <= value < 2**53):
            raise self.wrong(f"{path}.{key}", "a whole number", value)
        return value

    def time(self, value: object, path: str) -> datetime:
        """A time in ISO 8601, as UTC; without an offset it is taken as UTC."""
        try:
            parsed = datetime.fromisoformat(value)  # type: ignore[arg-type]
            return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)
        except (TypeError, ValueError, OverflowError):
            raise self.wrong(path, "a time", value) from None

    def json(self, value: object, path: str, most: int) -> str:
        """Any value, as JSON text of at most ``most`` characters."""
        if value_is_deeper(value, limits.record_nesting):
            raise self.wrong(path, f"JSON of at most {limits.record_nesting} levels", value)
        try:
            text = json.dumps(value, allow_nan=False, sort_keys=True)
        except (TypeError, ValueError):
            raise self.wrong(path, "JSON", value) from None
        if len(text) > most:
            raise self._error(f"{path}: {len(text):,} characters; at most {most:,} are allowed.")
        return text


in_record: Final = JsonChecks(RecordError)
"""Checks of what a record of the network says."""
in_schema: Final = JsonChecks(SchemaError)
"""Checks of what describes a sample type."""


def shown(value: object) -> str:
    """What was found, for a message: short, and never all of a long value."""
    if isinstance(value, (str, bool)):
        return f"{value!r:.60}"
    if isinstance(value, int):
        return f"{value}" if abs(value) < 2**64 else "an int of more than 64 bits"
    return "nothing" if value is None else type(value).__name__
