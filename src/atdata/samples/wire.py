"""msgpack → plain values, strictly: no repeated keys or unknown extensions."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

import msgpack

from atdata._limits import limits
from atdata.errors import DecodeError, EncodeError

T = TypeVar("T")


def unpack_map(payload: bytes | memoryview, *, nested: bool = True) -> dict[str, Any]:
    """Msgpack bytes → a map with str keys, and nothing after it.

    Args:
        payload: The bytes of one sample.
        nested: Whether maps inside are checked for repeated keys, too.

    Raises:
        DecodeError: Anything else, repeated keys, or extension types.
    """
    try:
        data = msgpack.unpackb(payload, **_options(len(payload), unique=nested))
    except _ExtensionError as error:
        raise DecodeError(f"not a msgpack sample: {foreign_value(payload) or error}") from None
    except DecodeError:
        raise
    except msgpack.StackError:
        raise DecodeError("not a msgpack sample: nested too deep") from None
    except _UNFIT as error:
        reason = foreign_value(payload) or str(error) or type(error).__name__
        raise DecodeError(f"not a msgpack sample: {reason[:300]}") from None
    if not isinstance(data, dict):
        raise DecodeError(f"not a msgpack sample: a {type(data).__name__}, not a map")
    if not nested and _declared(payload) != len(data):
        raise DecodeError("not a msgpack sample: the map has a key twice")
    if any(type(key) is not str for key in data):
        raise DecodeError(f"not a msgpack sample: {foreign_value(payload)}")
    return data


def check_readable(payload: bytes) -> None:
    """Refuse a payload of more lists and maps than reading allows.

    Args:
        payload: A sample that was just packed. Only a long one is checked: each list or map takes
            a byte at least.

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
    """The msgpack value at the start of bytes, and how many bytes it takes.

    Raises:
        DecodeError: There is none, a map in it repeats a key, or it has an extension type.
    """
    # In small parts: feeding the rest of the sample would copy it for each value.
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
"""What msgpack raises. MemoryError: a payload may claim a list of any length."""


def _options(size: int, *, unique: bool) -> dict[str, Any]:
    """Options of msgpack for a payload of this many bytes."""
    options: dict[str, Any] = {"raw": False, "strict_map_key": True, "ext_hook": _no_extension}
    if unique:
        options["object_pairs_hook"] = _unique_keys
    if size > limits.containers:
        # Each takes a byte at least, so shorter payloads cannot have too many. Counting costs time.
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
        """Count one more.

        Raises:
            DecodeError: It is one too many.
        """
        self._left -= 1
        if self._left < 0:
            raise DecodeError(f"a sample of more than {limits.containers:,} lists and maps")
        return value


def _declared(payload: bytes | memoryview) -> int:
    """How many pairs the header of a map claims."""
    first = payload[0]
    if first <= 0x8F:
        return first & 0x0F
    return int.from_bytes(bytes(payload[1 : 3 if first == 0xDE else 5]), "big")


def _unique_keys(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    data = dict(pairs)
    if len(data) != len(pairs):
        raise DecodeError("not a msgpack sample: a map has a key twice")
    return data


class _ExtensionError(DecodeError):
    """A value of an extension type."""


def _no_extension(code: int, data: bytes) -> Any:
    raise _ExtensionError(f"not a msgpack sample: extension type {code} has no meaning here")


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def moment_of(timestamp: msgpack.Timestamp) -> datetime:
    """A timestamp of msgpack as a datetime in UTC.

    Raises:
        DecodeError: A datetime cannot hold it exactly.
    """
    moment = None
    if not timestamp.nanoseconds % 1000:
        passed = timedelta(microseconds=timestamp.nanoseconds // 1000)
        with suppress(OverflowError):
            moment = _EPOCH + timedelta(seconds=timestamp.seconds) + passed
    if moment is None:
        raise DecodeError(
            f"a timestamp of {timestamp.seconds} s and {timestamp.nanoseconds} ns: datetimes go "
            "from year 1 to 9999, to the microsecond"
        )
    return moment


def timestamp_of(moment: datetime) -> msgpack.Timestamp:
    """A datetime in UTC as a timestamp of msgpack."""
    passed = moment - _EPOCH
    return msgpack.Timestamp(passed.days * 86_400 + passed.seconds, passed.microseconds * 1000)


FOREIGN: Final = frozenset({b"nd", b"type", b"kind", b"shape", b"data"})
"""Keys of the map that the package msgpack-numpy writes for an array."""


class _Pairs(list[tuple[Any, Any]]):
    """A map as a list of pairs: a dict of untrusted keys could take quadratic time."""


def foreign_value(payload: bytes | memoryview) -> str | None:
    """The first value that other programs write and no sample can hold, with its path.

    Args:
        payload: Bytes that are not a sample.

    Returns:
        A description; None if something else is wrong.
    """
    # Searching more of untrusted bytes could take long.
    if len(payload) > limits.containers:
        return None
    try:
        data = msgpack.unpackb(payload, raw=False, strict_map_key=False, object_pairs_hook=_Pairs)
    except _UNFIT:
        return None
    return _foreign(data, "$", 0)


def _foreign(value: Any, path: str, depth: int) -> str | None:
    if depth > limits.sample_nesting:
        return None
    inside: Iterable[tuple[str, Any]] = ()
    if isinstance(value, msgpack.ExtType):
        return f"{path}: extension type {value.code} has no meaning here"
    if isinstance(value, msgpack.Timestamp):
        try:
            moment_of(value)
        except DecodeError as error:
            return f"{path}: {error}"
    elif isinstance(value, _Pairs):
        names = [key for key, _ in value if type(key) is bytes]
        is_array = len(names) == len(value) == len(FOREIGN) and set(names) == FOREIGN
        for key, _ in () if is_array else value:
            if type(key) is not str:
                found = f"{type(key).__name__} {key!r:.40}"
                return f"{path}: expected a map with keys of str, found the key {found}"
        inside = ((f"[{key!r:.40}]" if depth else f".{key:.40}", v) for key, v in value)
    elif isinstance(value, list):
        inside = ((f"[{i}]", item) for i, item in enumerate(value))
    for step, item in inside:
        found_inside = _foreign(item, path + step, depth + 1)
        if found_inside is not None:
            return found_inside
    return None
