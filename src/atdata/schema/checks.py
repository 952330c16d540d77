"""Checks of a schema: its size, its names, its dtypes.

Schemas may be untrusted, so each is checked before it is used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from atdata._json_checks import in_schema
from atdata._limits import limits
from atdata.errors import OptionError, SampleTypeError, SchemaError
from atdata.samples.described import is_axis_name, is_unit
from atdata.samples.extension_dtypes import EXTENSION_DTYPES, extension_dtype
from atdata.samples.kinds import ClassLabel, Field, Kind, Maybe, Nested
from atdata.samples.member import Member
from atdata.samples.ndarray import UNSIZED_DTYPES, dtype_name
from atdata.samples.packable import name_problem

_NAMED_DTYPE = re.compile(r"bool|u?int(8|16|32|64)|float\d{2,3}|complex\d{2,3}")
_CODED_DTYPE = re.compile(
    r"[<>|=]([bBiufc]\d{1,2}|[SUV]\d{1,9}|[Mm]8(\[\d{0,9}(Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\])?)"
)


def check_limits(name: str, fields: Sequence[Field]) -> None:
    """Refuse a schema that is too large, without walking more of it than the limits allow.

    Raises:
        SchemaError: Names the limit, and the path where it is exceeded.
    """
    seen = 0
    todo: list[tuple[str, Kind, int]] = []

    def add(path: str, inner: Sequence[Field], depth: int) -> None:
        if len(inner) > limits.fields:
            raise SchemaError(
                f"{name}: {path} has {len(inner):,} fields; at most {limits.fields:,} are allowed."
            )
        todo.extend((f"{path}.{field.name:.40}", field.kind, depth) for field in inner)

    add("$", fields, 1)
    while todo:
        path, kind, depth = todo.pop()
        seen += 1
        if depth > limits.nesting:
            raise SchemaError(f"{name}: nested more than {limits.nesting} deep, at {path:.200}.")
        if seen > limits.kinds:
            raise SchemaError(
                f"{name}: more than {limits.kinds:,} fields in all, nested ones included."
            )
        match kind:
            case Nested():
                add(path, kind.fields, depth + 1)
            case Maybe(inner):
                todo.append((path, inner, depth + 1))
            case _:
                todo.extend((f"{path}[]", inner, depth + 1) for inner in kind.parts())


def check_identifier(name: str, where: str) -> None:
    """Refuse a name that a Python class or one of its fields cannot have.

    Args:
        name: The name.
        where: What it names, for the error.

    Raises:
        SchemaError: Not an identifier, a keyword, reserved by Python, or a spelling that Python
            normalizes to another name.
    """
    problem = name_problem(name)
    if problem is None:
        return
    raise SchemaError(
        f"{where}: {name!r:.80} {problem}. No type can be made of this schema; "
        "read the data as atdata.DictSample."
    )


def known_dtype(name: str) -> np.dtype[Any] | None:
    """The dtype that a schema names; None if this NumPy does not have it.

    A dtype of Python objects or with fields is never known.

    Raises:
        MissingExtraError: It is of the package ml_dtypes, which is not installed.
    """
    if name in EXTENSION_DTYPES:
        return extension_dtype(name)
    if not (name in UNSIZED_DTYPES or _NAMED_DTYPE.fullmatch(name) or _CODED_DTYPE.fullmatch(name)):
        return None
    try:
        return np.dtype(name)
    except (TypeError, ValueError):
        return None


def as_class_label(value: object, path: str) -> ClassLabel:
    """The classes of a field: each name a str, none twice or empty."""
    names = as_choices(value, path, limits.class_names)
    try:
        return ClassLabel(*names)
    except SampleTypeError as error:
        raise SchemaError(f"{path}: {error}") from None


def as_members(value: object, path: str) -> tuple[str, ...]:
    """The members that a field of a record is read from; none if it names none."""
    found = value.get("members") if isinstance(value, Mapping) else None
    if found is None:
        return ()
    names = as_choices(found, f"{path}.members", limits.member_names)
    try:
        return Member(*names).names
    except OptionError as error:
        raise SchemaError(f"{path}.members: {error}") from None


def as_choices(value: object, path: str, most: int | None = None) -> tuple[str, ...]:
    """The values of an enum, by default at most ``limits.choices``: each a str, none twice."""
    most = limits.choices if most is None else most
    if not isinstance(value, list) or not 1 <= len(value) <= most:
        raise in_schema.wrong(path, f"a list of 1 to {most:,} str", value)
    seen: set[object] = set()
    for i, choice in enumerate(value):
        if in_schema.text(choice, f"{path}[{i}]") is None or choice in seen:
            raise in_schema.wrong(f"{path}[{i}]", "a str that is not in the list yet", choice)
        seen.add(choice)
    return tuple(value)


def as_dtype(name: str) -> str | None:
    """The name of a dtype as a kind has it; None if this NumPy does not have it.

    Those of the package ml_dtypes are known whether it is installed or not.
    """
    if name in EXTENSION_DTYPES:
        return name
    dtype = known_dtype(name)
    return None if dtype is None else dtype_name(dtype)


def as_shape(
    data: Mapping[str, Any], path: str
) -> tuple[tuple[int | None, ...] | None, tuple[str | None, ...] | None]:
    """The shape of an array, and the names of its axes, from what a record has of it.

    Returns:
        A length or None for each axis, None if there is no shape; and likewise the names.
    """
    shape, axes = data.get("shape"), data.get("axes")
    if shape is not None:
        if not isinstance(shape, list) or len(shape) > limits.array_dimensions:
            most = limits.array_dimensions
            raise in_schema.wrong(f"{path}.shape", f"a list of at most {most} lengths", shape)
        for i, length in enumerate(shape):
            # Numbers of a record are exact up to here.
            if length is not None and (type(length) is not int or not 0 <= length < 2**53):
                raise in_schema.wrong(f"{path}.shape[{i}]", "a length or null", length)
    if axes is not None:
        if shape is None or not isinstance(axes, list) or len(axes) != len(shape):
            raise in_schema.wrong(f"{path}.axes", "a str for each axis of shape", axes)
        for i, name in enumerate(axes):
            if name != "" and (not is_axis_name(name) or shape[i] is not None):
                expected = "the name of an axis without a length, or ''"
                raise in_schema.wrong(f"{path}.axes[{i}]", expected, name)
    names = tuple(name or None for name in axes or ())
    return None if shape is None else tuple(shape), names if any(names) else None


def as_unit(value: object, path: str) -> str | None:
    """The unit of a field, or None."""
    if value is not None and not is_unit(value):
        raise in_schema.wrong(path, "a few printable characters", value)
    return None if value is None else str(value)
