"""Values as JSON, and back: what JSON lines hold."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from atdata.samples.kinds import (
    Array,
    DateTime,
    Encoded,
    FixedTuple,
    Kind,
    ListOf,
    MapOf,
    Maybe,
    Misfit,
    Nested,
    Primitive,
    SetOf,
    TupleOf,
)

_NUMBERS: Final = "biuf"
"""Kinds of dtypes whose arrays are lists of JSON's numbers."""


def without_json(kind: Kind) -> str:
    """What values of a kind hold that JSON lacks; "" if nothing."""
    match kind:
        case Encoded() | Primitive("bytes"):
            return kind.describe()
        case Array(dtype) if dtype is None or np.dtype(dtype).kind not in _NUMBERS:
            return f"an array of {dtype or 'any dtype'}"
        case _:
            return next(filter(None, map(without_json, kind.parts())), "")


def to_json(kind: Kind, value: Any) -> Any:
    """A value as JSON has it: arrays as nested lists, times in ISO 8601.

    Raises:
        Misfit: NaN or an infinity, which JSON lacks.
    """
    match kind:
        case Maybe(inner):
            return None if value is None else to_json(inner, value)
        case Array():
            if value.dtype.kind == "f" and not np.isfinite(value).all():
                raise Misfit("numbers of JSON", "NaN or an infinity", _NAN)
            return value.tolist()
        case ListOf(inner) | TupleOf(inner):
            return [_at(to_json, inner, each, f"[{i}]") for i, each in enumerate(value)]
        case SetOf():
            return kind.encode(value)
        case FixedTuple(places):
            return [_at(to_json, places[i], each, f"[{i}]") for i, each in enumerate(value)]
        case MapOf(inner):
            return {k: _at(to_json, inner, each, f"[{k!r}]") for k, each in value.items()}
        case Nested(_, fields):
            return {
                f.name: _at(to_json, f.value_kind, getattr(value, f.name), f".{f.name}")
                for f in fields
            }
        case _:
            wire = kind.encode(value)
            if isinstance(wire, float) and not math.isfinite(wire):
                raise Misfit("a number of JSON", str(wire), _NAN)
            return wire


_NAN: Final = "JSON has none: replace it by map first, for example by None."


def from_json(kind: Kind, value: Any) -> Any:
    """The opposite of `to_json`.

    Raises:
        Misfit: It is not of this kind.
    """
    match kind:
        case Maybe(inner):
            return None if value is None else from_json(inner, value)
        case Array():
            return _array(kind, value)
        case ListOf(inner) if isinstance(value, list):
            return [_at(from_json, inner, each, f"[{i}]") for i, each in enumerate(value)]
        case TupleOf(inner) if isinstance(value, list):
            return tuple(_at(from_json, inner, each, f"[{i}]") for i, each in enumerate(value))
        case FixedTuple(places) if isinstance(value, list) and len(value) == len(places):
            pairs = zip(places, value, strict=True)
            return tuple(_at(from_json, k, each, f"[{i}]") for i, (k, each) in enumerate(pairs))
        case MapOf(inner) if isinstance(value, dict):
            return {key: _at(from_json, inner, each, f"[{key!r}]") for key, each in value.items()}
        case Nested() if isinstance(value, dict):
            codec = kind.codec()
            return codec.build(
                {
                    name: _at(from_json, f.value_kind, value[name], f".{name}")
                    if name in value
                    else codec.missing(name)
                    for name, f in codec.by_name.items()
                }
            )
        case DateTime() if isinstance(value, str) and value.endswith(("z", "Z")):
            return kind.decode(f"{value[:-1]}+00:00")
        case _:
            return kind.decode(value)


def _at(convert: Any, kind: Kind, value: Any, step: str) -> Any:
    try:
        return convert(kind, value)
    except Misfit as misfit:
        raise misfit.at(step) from None


def _array(kind: Array, value: Any) -> Any:
    dtype = None if kind.dtype is None else np.dtype(kind.dtype)
    try:
        plain = np.asarray(value)
        found = plain if dtype is None else plain.astype(dtype)
    except (ValueError, OverflowError, TypeError) as error:
        raise Misfit(kind.describe(), f"a list that is no array: {error}") from None
    # An empty list has no dtype of its own.
    if plain.dtype.kind not in _NUMBERS or (
        plain.size
        and dtype is not None
        and plain.dtype.kind in "iu"
        and dtype.kind in "iub"
        and not (found.astype(plain.dtype) == plain).all()
    ):
        raise Misfit(kind.describe(), f"numbers that {kind.dtype} does not hold")
    return found
