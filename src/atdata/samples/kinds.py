"""THE type table: what a field can be, how each kind is checked, written and read.

============================  ==================  ============================
annotation                    kind                on the wire (msgpack)
============================  ==================  ============================
str, int, float, bool, bytes  Primitive           the same
NDArray, NDArray[np.float32]  Array               bin, see `ndarray`
list[T]                       ListOf              list
dict[str, T]                  MapOf               map
datetime                      DateTime            str, ISO 8601
Literal["a", "b"], Enum       Choice              str
a packable class              Nested              map
T | None                      Maybe               nil or T
============================  ==================  ============================

A kind is data: equal kinds describe the same values. The Python class of a Nested or a Choice
is kept for making instances, and is not compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, Final

import msgpack
import numpy as np

from atdata._arrays import AnyArray
from atdata.errors import DecodeError
from atdata.samples.missing import found_for_error, missing_mark
from atdata.samples.ndarray import (
    conversion,
    decode_array,
    decode_foreign_array,
    dtype_fits,
    encode_array,
    is_foreign_array,
)
from atdata.samples.numbers import has_float, shown_number
from atdata.samples.pickling import defined_again
from atdata.samples.wire import moment_of

PRIMITIVES: Final[dict[str, type]] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": bool,
    "bytes": bytes,
}
_INT_RANGE: Final = range(-(2**63), 2**64)
"""What msgpack can hold."""


class Misfit(Exception):
    """A value that does not fit its kind. Each level on the way up adds a step to the path."""

    def __init__(self, expected: str, found: Any, hint: str = "") -> None:
        self.expected = expected
        self.found = found if isinstance(found, str) else type(found).__name__
        self.hint = hint
        if not isinstance(found, str) and (mark := missing_mark(found)):
            field = f"{expected} | None" if expected.isidentifier() else "T | None"
            self.found, instead = mark
            self.hint = f"{instead} A field that may lack a value is annotated {field}."
        self.steps: list[str] = []

    def at(self, step: str) -> Misfit:
        """This error, with one more step at the start of its path."""
        self.steps.append(step)
        return self

    def __str__(self) -> str:
        path = "$" + "".join(reversed(self.steps))
        return f"{path}: expected {self.expected}, found {self.found}." + (
            f" {self.hint}" if self.hint else ""
        )


@dataclass(frozen=True)
class Kind:
    """The values that a field can have."""

    def describe(self) -> str:
        """The annotation, as a person would write it."""
        raise TypeError(f"{type(self).__name__} has no description")

    def encode(self, value: Any) -> Any:
        """Check a Python value, and convert it to what msgpack packs.

        Raises:
            Misfit: It does not fit.
        """
        raise Misfit(self.describe(), value)

    def decode(self, wire: Any) -> Any:
        """Check what msgpack unpacked, and convert it to a Python value.

        Raises:
            Misfit: It does not fit.
        """
        raise Misfit(self.describe(), wire)

    def checked(self, value: Any) -> Any:
        """Check a Python value, and convert it to what reading would give. Arrays are not copied.

        Raises:
            Misfit: It does not fit.
        """
        return self.decode(self.encode(value))


@dataclass(frozen=True)
class Primitive(Kind):
    """str, int, float, bool or bytes.

    NumPy scalars of the same sort can be written, and as a float any number that equals one.
    """

    name: str

    def describe(self) -> str:
        return self.name

    def encode(self, value: Any) -> Any:
        kind = type(value)
        if kind is PRIMITIVES[self.name]:
            return self._in_range(value)
        sorts, convert = _ACCEPT[self.name]
        if not isinstance(value, sorts) or isinstance(value, bool):
            raise Misfit(self.name, found_for_error(value))
        if isinstance(value, memoryview) and (value.format != "B" or value.ndim != 1):
            # A view of other items does not equal its bytes.
            shown = f"a memoryview of {value.format!r} {value.shape}"
            raise Misfit(self.name, shown, "Write its bytes: view.tobytes().")
        if self.name == "float" and not has_float(value):
            raise Misfit("float", shown_number(value), _NO_FLOAT)
        return self._in_range(convert(value))

    def _in_range(self, value: Any) -> Any:
        if self.name == "int" and value not in _INT_RANGE:
            raise Misfit("int", shown_number(value), "An integer has at most 64 bits.")
        if self.name == "str":
            check_text(value)
        return value

    def decode(self, wire: Any) -> Any:
        kind = type(wire)
        if kind is PRIMITIVES[self.name]:
            return wire
        # Writers without float64, such as JavaScript's, write whole numbers as integers.
        if self.name == "float" and kind is int:
            return float(wire)
        raise Misfit(self.name, found_for_error(wire))


_NO_FLOAT: Final = "No 64-bit float is equal to it; round it with float(…) if that will do."
_ACCEPT: Final[dict[str, tuple[tuple[type, ...], Callable[[Any], Any]]]] = {
    # A subclass such as np.str_ becomes a plain str, without calling its own methods.
    "str": ((str,), str.__str__),
    "int": ((int, np.integer), int),
    "float": ((int, float, np.integer, np.floating), float),
    "bool": ((np.bool_,), bool),
    "bytes": ((bytes, bytearray, memoryview), bytes),
}
"""Other types that can be written, and how they are converted. A bool is never a number."""


@dataclass(frozen=True)
class DateTime(Kind):
    """A datetime, to the microsecond. Of a time zone the offset is kept, not the name.

    A ``datetime64`` can be written in units from hours to microseconds: NumPy compares only these
    as equal to the datetime that is read back.
    """

    def describe(self) -> str:
        return "datetime"

    def encode(self, value: Any) -> str:
        exact = True
        if isinstance(value, np.datetime64) and not np.isnat(value):
            try:
                moment = value.astype("datetime64[us]")
                # Before NumPy 2.5 a value out of range wraps around, and then differs.
                exact = bool(moment.astype(value.dtype) == value)
                found, value = value, moment.item()
            except OverflowError:
                raise Misfit("datetime", f"{value}") from None
            # NumPy does not compare days, longer units or nanoseconds with a datetime.
            if exact and isinstance(value, datetime) and found != value:
                hint = "Write it in microseconds, which read back equal: .astype('datetime64[us]')."
                raise Misfit("datetime", f"{found.dtype} {found}", hint)
        # pandas.NaT is a datetime that equals nothing.
        if not isinstance(value, datetime) or value != value:
            raise Misfit("datetime", found_for_error(value))
        if not exact or (hasattr(value, "nanosecond") and value.nanosecond):
            hint = "Store an array of datetime64 to keep smaller units."
            raise Misfit("datetime, to the microsecond", f"{value}", hint)
        # A subclass, such as pandas.Timestamp, may write more than a datetime reads.
        return datetime.isoformat(value)

    def checked(self, value: Any) -> datetime:
        return value if isinstance(value, datetime) else self.decode(self.encode(value))

    def decode(self, wire: Any) -> datetime:
        if isinstance(wire, msgpack.Timestamp):
            try:
                return moment_of(wire)
            except DecodeError as error:
                raise Misfit("datetime, to the microsecond", str(error)) from None
        if not isinstance(wire, str):
            raise Misfit("datetime as an ISO 8601 str", found_for_error(wire))
        try:
            return datetime.fromisoformat(wire)
        except ValueError:
            raise Misfit("datetime as an ISO 8601 str", repr(wire[:40])) from None


@dataclass(frozen=True)
class Choice(Kind):
    """One of a few strings: a Literal, or an Enum whose values are str."""

    values: tuple[str, ...]
    enum: type[Enum] | None = field(default=None, compare=False, repr=False)

    def describe(self) -> str:
        return f"Literal[{', '.join(map(repr, self.values))}]"

    def encode(self, value: Any) -> str:
        if isinstance(value, Enum) and self.enum is not None and isinstance(value, self.enum):
            value = value.value
        if isinstance(value, str) and value in self.values:
            check_text(value)
            return str.__str__(value)
        raise Misfit(self.describe(), value if missing_mark(value) else repr(value)[:60])

    def decode(self, wire: Any) -> Any:
        if not isinstance(wire, str) or wire not in self.values:
            raise Misfit(self.describe(), repr(wire)[:60])
        return wire if self.enum is None else self.enum(wire)


@dataclass(frozen=True)
class Array(Kind):
    """A NumPy array, of one dtype and shape if these are given."""

    dtype: str | None = None
    """``float32``, ``uint8``, …; None: any."""
    shape: tuple[int | None, ...] | None = None
    """None: any; a None in it: any length of that axis."""

    def describe(self) -> str:
        dims = "" if self.shape is None else str(tuple(self.shape)).replace("None", "*")
        return f"{self.dtype or 'array'} {dims}".rstrip()

    def fits(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> bool:
        """Whether an array of this dtype and shape is a value of this kind."""
        if self.dtype is not None and not dtype_fits(dtype, self.dtype):
            return False
        if self.shape is None:
            return True
        return len(shape) == len(self.shape) and all(
            want is None or have == want for have, want in zip(shape, self.shape, strict=True)
        )

    def encode(self, value: Any) -> bytes:
        if not isinstance(value, np.ndarray):
            hint = "Pass a NumPy array: np.asarray(value)."
            raise Misfit(self.describe(), found_for_error(value), hint)
        self.check(value)
        try:
            return encode_array(value)
        except ValueError as error:
            raise Misfit(self.describe(), f"{value.dtype} {value.shape}", str(error)) from None

    def checked(self, value: Any) -> AnyArray:
        if not isinstance(value, np.ndarray) or value.dtype.hasobject:
            found = found_for_error(value)
            if isinstance(value, np.ndarray):
                found = "an array of Python objects"
            raise Misfit(self.describe(), found, "Pass a NumPy array: np.asarray(value).")
        self.check(value)
        return value

    def decode(self, wire: Any) -> AnyArray:
        foreign = is_foreign_array(wire)
        if not foreign and not isinstance(wire, (bytes, memoryview)):
            raise Misfit(self.describe(), found_for_error(wire))
        try:
            array = decode_foreign_array(wire) if foreign else decode_array(wire)
        except DecodeError as error:
            raise Misfit(self.describe(), f"bytes that are no array: {error}") from None
        self.check(array)
        return array

    def check(self, array: AnyArray) -> None:
        """Refuse an array that is not a value of this kind.

        Raises:
            Misfit: It is not.
        """
        if not self.fits(array.dtype, array.shape):
            hint = "" if self.dtype is None else conversion(array, self.dtype)
            raise Misfit(self.describe(), f"{array.dtype} {array.shape}", hint)


@dataclass(frozen=True)
class ListOf(Kind):
    """A list whose items are of one kind. A tuple can be written, too."""

    items: Kind

    def describe(self) -> str:
        return f"list[{self.items.describe()}]"

    def encode(self, value: Any) -> list[Any]:
        if not isinstance(value, (list, tuple)):
            raise Misfit(self.describe(), found_for_error(value))
        return _each(self.items.encode, value)

    def decode(self, wire: Any) -> list[Any]:
        if not isinstance(wire, list):
            raise Misfit(self.describe(), found_for_error(wire))
        return _each(self.items.decode, wire)

    def checked(self, value: Any) -> list[Any]:
        if not isinstance(value, (list, tuple)):
            raise Misfit(self.describe(), found_for_error(value))
        return _each(self.items.checked, value)


def _each(convert: Callable[[Any], Any], values: list[Any] | tuple[Any, ...]) -> list[Any]:
    out: list[Any] = []
    try:
        for value in values:
            out.append(convert(value))
    except Misfit as misfit:
        raise misfit.at(f"[{len(out)}]") from None
    return out


@dataclass(frozen=True)
class MapOf(Kind):
    """A dict with str keys and values of one kind."""

    values: Kind

    def describe(self) -> str:
        return f"dict[str, {self.values.describe()}]"

    def encode(self, value: Any) -> dict[str, Any]:
        wire = self._convert(value, self.values.encode)
        for key in wire:
            check_text(key)
        return wire

    def decode(self, wire: Any) -> dict[str, Any]:
        return self._convert(wire, self.values.decode)

    def checked(self, value: Any) -> dict[str, Any]:
        return self._convert(value, self.values.checked)

    def _convert(self, value: Any, convert: Callable[[Any], Any]) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise Misfit(self.describe(), found_for_error(value))
        out: dict[str, Any] = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise Misfit("str as a key", found_for_error(key))
            try:
                out[str.__str__(key)] = convert(item)
            except Misfit as misfit:
                raise misfit.at(f"[{key!r}]") from None
        return out


@dataclass(frozen=True)
class Maybe(Kind):
    """None, or a value of another kind."""

    kind: Kind

    def describe(self) -> str:
        return f"{self.kind.describe()} | None"

    def encode(self, value: Any) -> Any:
        if value is None:
            return None
        try:
            return self.kind.encode(value)
        except Misfit as misfit:
            if misfit.steps or not (mark := missing_mark(value)):
                raise
            raise Misfit(self.describe(), *mark) from None

    def decode(self, wire: Any) -> Any:
        return None if wire is None else self.kind.decode(wire)

    def checked(self, value: Any) -> Any:
        return None if value is None else self.kind.checked(value)


@dataclass(frozen=True)
class Field:
    """One field of a sample type: its name, kind, and whether it may be None."""

    name: str
    kind: Kind
    optional: bool = False
    """Whether the value may be None, or be missing in stored samples."""
    description: str | None = field(default=None, compare=False)

    @property
    def value_kind(self) -> Kind:
        """The kind, including None if the field is optional."""
        return Maybe(self.kind) if self.optional else self.kind

    def describe(self) -> str:
        """``name: annotation``."""
        return f"{self.name}: {self.value_kind.describe()}"


@dataclass(frozen=True)
class Nested(Kind):
    """A sample inside a sample."""

    name: str = field(compare=False)
    """Qualified name, ``{module}.{Class}``."""
    fields: tuple[Field, ...]
    python: type | None = field(default=None, compare=False, repr=False)
    version: str | None = field(default=None, compare=False)
    """Version of the schema that it was read from, if it was."""

    def describe(self) -> str:
        return self.name.rpartition(".")[2]

    def encode(self, value: Any) -> dict[str, Any]:
        codec = self._codec()
        if isinstance(value, Mapping):
            value = codec.from_mapping(value)
        if type(value) is not codec.sample_type:
            hint = defined_again(codec.sample_type, type(value))
            if isinstance(value, codec.sample_type):
                hint = f"What {type(value).__name__} adds to {self.describe()} would be lost."
            raise Misfit(self.describe(), found_for_error(value), hint)
        return codec.to_wire(value)  # type: ignore[no-any-return]

    def decode(self, wire: Any) -> Any:
        if not isinstance(wire, dict):
            raise Misfit(self.describe(), found_for_error(wire))
        return self._codec().from_wire(wire)

    def checked(self, value: Any) -> Any:
        return self._codec().checked(value)

    def _codec(self) -> Any:
        if self.python is None:
            raise Misfit(self.describe(), "a schema that no type was made of")
        return self.python.__atdata_codec__  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Unknown(Kind):
    """A kind that a newer version wrote. Its samples can be read as DictSample."""

    name: str
    record: str
    """The kind's record as JSON, to be written again unchanged."""

    def describe(self) -> str:
        return f"unknown kind {self.name!r}"


def depth_of(kind: Kind) -> int:
    """How deep kinds are nested: 1 for a kind without others in it."""
    match kind:
        case ListOf(inner) | MapOf(inner) | Maybe(inner):
            return 1 + depth_of(inner)
        case Nested():
            return 1 + max((depth_of(field.kind) for field in kind.fields), default=0)
        case _:
            return 1


def check_text(value: str) -> None:
    """Refuse text that UTF-8 cannot encode.

    Raises:
        Misfit: It has a lone surrogate.
    """
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise Misfit("str", "a str with lone surrogates") from None
