"""Columns as NumPy arrays: the field's kind decides the dtype, never the values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from enum import Enum
from typing import Any, Final, TypeAlias

import numpy as np

from atdata._arrays import AnyArray
from atdata.errors import OptionError, RaggedFieldError
from atdata.samples.kinds import (
    Array,
    Choice,
    ClassLabel,
    DateTime,
    Field,
    IntChoice,
    Kind,
    Misfit,
    Primitive,
)
from atdata.samples.kinds.simple import Date, Duration

Keys: TypeAlias = Sequence[str]

_NUMBERS: Final[dict[str, tuple[type, tuple[type, ...]]]] = {
    "float": (np.float64, (float, int, np.floating, np.integer)),
    "int": (np.int64, (int, np.integer)),
    "bool": (np.bool_, (bool, np.bool_)),
}
"""Kind → dtype of its column, and Python types of its values."""
_PLAIN_NUMBERS: Final[dict[type, str]] = {
    **{float: "float", int: "int", bool: "bool"},
    **{np.float64: "float", np.int64: "int", np.bool_: "bool"},
}
_PLAIN: Final[dict[type, Kind]] = {
    str: Primitive("str"),
    bytes: Primitive("bytes"),
    datetime: DateTime(),
}


def is_number(kind: Kind) -> bool:
    """Whether a column of this kind is an array of numbers."""
    return isinstance(kind, ClassLabel | IntChoice) or (
        isinstance(kind, Primitive) and kind.name in _NUMBERS
    )


def as_array(name: str, kind: Kind, column: AnyArray | list[Any], keys: Keys) -> AnyArray:
    """n values of one kind as an array of shape (n, …).

    Args:
        name: The field, for errors.
        kind: Their kind.
        column: A list of n values, none of them None; or an array of shape (n, *S), which is
            returned itself if it has the right dtype.
        keys: The key of each sample, for errors.

    Returns:
        int64, float64 or bool for numbers, int64 for class labels and int enums; NumPy's string
        types for str, bytes and Literal; datetime64[us] in UTC, datetime64[D] for dates,
        timedelta64[us]; arrays of shape (*S) as (n, *S), dtype unchanged.

    Raises:
        RaggedFieldError: Arrays differ, an int is outside of int64, a str ends with NUL, or no
            dtype holds the kind.
    """
    match kind:
        case Primitive(plain) if plain in _NUMBERS:
            return _numbers(name, plain, column, keys)
        case ClassLabel():
            return _numbers(name, "int", column, keys)
        case IntChoice():
            numbers = [value.value if isinstance(value, Enum) else value for value in column]
            return _numbers(name, "int", numbers, keys)
        case Date():
            _check_sorts(name, "date", (date,), list(column), keys)
            return np.array(list(column), "datetime64[D]")
        case Duration():
            _check_sorts(name, "timedelta", (timedelta,), list(column), keys)
            return np.array(list(column), "timedelta64[us]")
        case Array():
            if isinstance(column, np.ndarray):
                return column
            return stacked(name, column, keys) if column else empty_arrays(kind)
        case Primitive("str" | "bytes") | Choice(enum=None):
            if isinstance(column, np.ndarray):
                return column
            return _texts(name, bytes if kind == Primitive("bytes") else str, column, keys)
        case DateTime():
            return _datetimes(name, list(column), keys)
        case _:
            raise RaggedFieldError(
                f"{name}: {kind.describe()} makes no column of NumPy. {listed(name)}"
            )


def untyped_array(name: str, values: list[Any], keys: Keys) -> AnyArray:
    """Values of a field without a type as an array; all must be of one Python type.

    Raises:
        RaggedFieldError: They are not, or no dtype holds that type.
    """
    kind = untyped_kind(name, values, keys)
    if isinstance(kind, Array) and kind.shape is not None:
        return np.array(values, kind.dtype)
    sorts = set(map(type, values))
    if kind is None and len(sorts) == 1:
        kind = _PLAIN.get(next(iter(sorts)))
    if kind is None:
        found = ", ".join(sorted({_sort(value) for value in values})) or "no values"
        raise RaggedFieldError(f"{name}: {found}: that makes no column of NumPy. {listed(name)}")
    return as_array(name, kind, values, keys)


def untyped_kind(name: str, values: list[Any], keys: Keys) -> Kind | None:
    """The kind of the values of a field without a type, if they are numbers or arrays.

    Raises:
        RaggedFieldError: Only some are; or all are None, so that the kind is unknown.
    """
    sorts = set(map(type, values))
    kinds = set(map(_array_kind, sorts))
    if len(kinds) < 2 and sorts != {type(None)}:
        return kinds.pop() if kinds else None
    first = values[0]
    other = next((i for i, value in enumerate(values) if type(value) is not type(first)), 0)
    rest = f", sample {keys[other]!r} {_sort(values[other])}" if other else ""
    raise RaggedFieldError(
        f"{name}: sample {keys[0]!r} has {_sort(first)}{rest}, and without a type the dtype of "
        f"the column is unknown. Read the samples as a type, pass fill={{{name!r}: …}} for None, "
        f"or ask for a list: ragged={{{name!r}: 'list'}}, batch.values({name!r})."
    )


def _array_kind(sort: type) -> Kind | None:
    """The kind of a Python type, if a column of it is an array of numbers."""
    if sort is np.ndarray:
        return Array()
    if sort in _PLAIN_NUMBERS:
        return Primitive(_PLAIN_NUMBERS[sort])
    return Array(np.dtype(sort).name, ()) if issubclass(sort, np.number) else None


def fills_of(fill: Mapping[str, Any] | None, fields: Mapping[str, Field]) -> dict[str, Any]:
    """Check what replaces None in columns, and convert it to plain values.

    Args:
        fill: Field name → value, as a caller gives it.
        fields: The fields of the samples; empty: they have no type.

    Raises:
        OptionError: A field that does not exist or is never None, or a value that does not fit it.
    """
    if not isinstance(fill, Mapping | None):
        raise OptionError(f"fill={fill!r:.80}: expected a dict with a value for each field.")
    found = dict(fill or {})
    for name, value in found.items():
        field = fields.get(name)
        if value is None:
            raise OptionError(f"fill: {name} needs a value that replaces None.")
        if not fields:
            continue
        if field is None or not field.optional:
            problem = f"{name} is never None" if field else f"there is no field {name!r}"
            raise OptionError(f"fill: {problem}. Fields that may be None: {_optional(fields)}.")
        try:
            if isinstance(field.kind, Array) and isinstance(value, np.ndarray):
                field.kind.check(value)
            else:
                # What stands for no label in a column, such as -100, is the number of no class.
                kind = (
                    Primitive("int")
                    if isinstance(field.kind, ClassLabel | IntChoice)
                    else field.kind
                )
                found[name] = kind.decode(kind.encode(value))
        except Misfit as misfit:
            raise OptionError(f"fill: {misfit.at(f'.{name}')}") from None
    return found


def _optional(fields: Mapping[str, Field]) -> str:
    return ", ".join(name for name, field in fields.items() if field.optional) or "none"


def stacked(name: str, arrays: list[Any], keys: Keys) -> AnyArray:
    """Arrays of one dtype and shape (*S) as one of shape (n, *S); a copy.

    Raises:
        RaggedFieldError: Two differ; names both samples.
    """
    first = arrays[0]
    for key, array in zip(keys, arrays, strict=True):
        if not isinstance(array, np.ndarray) or not isinstance(first, np.ndarray):
            wrong = first if isinstance(array, np.ndarray) else array
            raise RaggedFieldError(
                f"{name}: sample {key!r} has {_sort(wrong)}, which is no array. {listed(name)}"
            )
        if array.shape != first.shape or array.dtype != first.dtype:
            raise RaggedFieldError(
                f"{name}: sample {keys[0]!r} has {first.dtype} {first.shape}, sample {key!r} "
                f"{array.dtype} {array.shape}: they cannot be stacked. {listed(name)} "
                f"To batches() and to_torch() pass ragged={{{name!r}: 'pad'}}, 'flat' or 'list'."
            )
    return np.stack(arrays, dtype=first.dtype)  # else the byte order would be lost


def empty_arrays(kind: Array) -> AnyArray:
    """A column of no arrays, with as much of dtype and shape as the kind has."""
    shape = tuple(size or 0 for size in kind.shape or ())
    return np.empty((0, *shape), kind.dtype)  # without a dtype float64, as in NumPy


def rows_of(column: AnyArray) -> list[Any]:
    """The rows of a column as arrays, also those without dimensions; views."""
    if column.ndim > 1:
        return list(column)
    # Iterating over one dimension would give NumPy scalars, not arrays.
    return [column[i, ...] for i in range(len(column))]


def listed(name: str) -> str:
    """What to do about a column that cannot be an array."""
    return f"batch.values({name!r}) gives them as a list."


def _numbers(name: str, plain: str, column: AnyArray | list[Any], keys: Keys) -> AnyArray:
    dtype, sorts = _NUMBERS[plain]
    if isinstance(column, np.ndarray):
        if column.dtype == np.uint64 and plain == "int":
            # Integers are read so if any of them needs it, perhaps in another batch.
            beyond = column > np.uint64(2**63 - 1)
            if beyond.any():
                at = int(beyond.argmax())
                raise _too_large(name, int(column[at]), keys[at])
        return column.astype(dtype, copy=False)
    _check_sorts(name, plain, sorts, column, keys)
    try:
        return np.array(column, dtype)
    except OverflowError:
        at = next(i for i, value in enumerate(column) if not -(2**63) <= value < 2**63)
        raise _too_large(name, column[at], keys[at]) from None


def _too_large(name: str, value: int, key: str) -> RaggedFieldError:
    return RaggedFieldError(
        f"{name}: sample {key!r} has {value}, which int64, the dtype of a column of int, cannot "
        f"hold. Ask for a list of int: ragged={{{name!r}: 'list'}}, batch.values({name!r}); or "
        "store it as NDArray[np.uint64]."
    )


def _texts(name: str, sort: type, values: list[Any], keys: Keys) -> AnyArray:
    _check_sorts(name, sort.__name__, (sort,), values, keys)
    nul = ("\0", b"\0")
    if any(value[-1:] in nul for value in values):
        at = next(i for i, value in enumerate(values) if value[-1:] in nul)
        raise RaggedFieldError(
            f"{name}: sample {keys[at]!r} ends with NUL, where NumPy's strings would be cut. "
            f"{listed(name)}"
        )
    return np.array(values, "U" if sort is str else "S")


def _datetimes(name: str, values: list[Any], keys: Keys) -> AnyArray:
    _check_sorts(name, "datetime", (datetime,), values, keys)
    offsets = [value.utcoffset() for value in values]
    if None in offsets and any(offset is not None for offset in offsets):
        at = next(i for i, o in enumerate(offsets) if (o is None) != (offsets[0] is None))
        raise RaggedFieldError(
            f"{name}: of samples {keys[0]!r} and {keys[at]!r}, one has a time zone and one has "
            f"none. {listed(name)}"
        )
    moments: AnyArray = np.array([value.replace(tzinfo=None) for value in values], "datetime64[us]")
    # In UTC the year may be 0 or 10000, which only NumPy can hold.
    if values and offsets[0] is not None:
        moments -= np.array(offsets, "timedelta64[us]")
    return moments


def _check_sorts(
    name: str, expected: str, sorts: tuple[type, ...], values: list[Any], keys: Keys
) -> None:
    found = set(map(type, values))
    wrong = {s for s in found if not issubclass(s, sorts) or (s is bool and expected != "bool")}
    if wrong:
        at = next(i for i, value in enumerate(values) if type(value) in wrong)
        raise RaggedFieldError(
            f"{name}: sample {keys[at]!r} has {_sort(values[at])}, expected {expected}. "
            f"{listed(name)}"
        )


def _sort(value: object) -> str:
    return "None" if value is None else type(value).__name__
