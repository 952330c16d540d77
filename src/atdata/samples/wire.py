"""msgpack → plain values, with what msgpack itself lets pass refused."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgpack

from atdata._limits import limits
from atdata.errors import DecodeError, EncodeError

T = TypeVar("T")


def unpack_map(payload: bytes | memoryview, *, nested: bool = True) -> dict[str, Any]:
    """Msgpack bytes → one map with str keys, nothing before or behind it.

    Args:
        payload: The bytes of one sample.
        nested: Whether maps inside are looked at for repeated keys too.

    Raises:
        DecodeError: Anything else, repeated keys, or extension types.
    """
    try:
        data = msgpack.unpackb(payload, **_options(len(payload), unique=nested))
    except DecodeError:
        raise
    except msgpack.StackError:
        raise DecodeError("not a msgpack sample: nested too deep") from None
    except _UNFIT as error:
        reason = str(error) or type(error).__name__
        raise DecodeError(f"not a msgpack sample: {reason[:200]}") from None
    if not isinstance(data, dict):
        raise DecodeError(f"not a msgpack sample: a {type(data).__name__}, not a map")
    if not nested and _declared(payload) != len(data):
        raise DecodeError("not a msgpack sample: the map has a key twice")
    if any(type(key) is not str for key in data):
        raise DecodeError("not a msgpack sample: the map has a key that is no str")
    return data


def check_readable(payload: bytes) -> None:
    """Refuse a payload of so many lists and maps that reading it would be refused.

    Args:
        payload: What was just packed. Only a long one is looked at: each takes a byte at least.

    Raises:
        EncodeError: It has more than ``limits.containers``.
    """
    if len(payload) > limits.containers:
        try:
            unpack_map(payload)
        except DecodeError as error:
            hint = "Store numbers as an array, or set limits.containers here and where it is read."
            raise EncodeError(f"it could not be read back: {error}. {hint}") from None


def unpack_value(payload: memoryview) -> tuple[Any, int]:
    """The one msgpack value that bytes begin with, and how many bytes it takes.

    Raises:
        DecodeError: There is none, a map in it repeats a key, or it has an extension type.
    """
    size = 512
    while True:
        part = payload[:size]
        options = _options(len(part), unique=True)
        unpacker = msgpack.Unpacker(max_buffer_size=max(size, 1), **options)
        unpacker.feed(part)
        try:
            return unpacker.unpack(), unpacker.tell()
        except DecodeError:
            raise
        except msgpack.OutOfData:
            if len(part) == len(payload):
                raise DecodeError("not a msgpack sample: it is cut short") from None
            size *= 8
        except _UNFIT as error:
            reason = str(error) or type(error).__name__
            raise DecodeError(f"not a msgpack sample: {reason[:200]}") from None


_UNFIT: Final = (ValueError, TypeError, msgpack.UnpackException, RecursionError, MemoryError)
"""What msgpack raises. MemoryError: a list of as many items as a payload only claims to have."""


def _options(size: int, *, unique: bool) -> dict[str, Any]:
    """How msgpack reads a payload of so many bytes."""
    options: dict[str, Any] = {"raw": False, "strict_map_key": True, "ext_hook": _no_extension}
    if unique:
        options["object_pairs_hook"] = _unique_keys
    if size > limits.containers:
        # Each takes a byte at least: only then can there be too many, and counting costs time.
        count = _Counter()
        options["list_hook"] = count.one
        if unique:
            options["object_pairs_hook"] = lambda pairs: count.one(_unique_keys(pairs))
        else:
            options["object_hook"] = count.one
    return options


class _Counter:
    """Counts the lists and maps of one payload."""

    def __init__(self) -> None:
        self._left = limits.containers

    def one(self, value: T) -> T:
        """One more.

        Raises:
            DecodeError: One too many.
        """
        self._left -= 1
        if self._left < 0:
            raise DecodeError(f"a sample of more than {limits.containers:,} lists and maps")
        return value


def _declared(payload: bytes | memoryview) -> int:
    """How many pairs the map that begins here says it has."""
    first = payload[0]
    if first <= 0x8F:
        return first & 0x0F
    return int.from_bytes(bytes(payload[1 : 3 if first == 0xDE else 5]), "big")


def _unique_keys(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    data = dict(pairs)
    if len(data) != len(pairs):
        raise DecodeError("not a msgpack sample: a map has a key twice")
    return data


def _no_extension(code: int, data: bytes) -> Any:
    raise DecodeError(f"not a msgpack sample: extension type {code} has no meaning here")
