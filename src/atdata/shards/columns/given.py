"""Columns from the caller: arrays, lists, and columns of other libraries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from atdata._arrays import AnyArray
from atdata.errors import EncodeError
from atdata.samples.codec import SampleCodec
from atdata.samples.kinds import DateTime, Field, Kind, Simple
from atdata.shards.columns.packers import Values


def given_columns(columns: Mapping[str, Any], codec: SampleCodec[Any]) -> dict[str, Values]:
    """Field name → its column, as an array or a list.

    A column of pandas, Polars, Arrow or the like converts itself to an array; these libraries are
    not imported.

    Raises:
        EncodeError: A column without a field, a required field without a column, or one that is
            not an array or list; names it.
    """
    if not hasattr(columns, "items") or not hasattr(columns, "get"):
        raise EncodeError(
            "The columns of samples are a dict, field name → one value a sample, found "
            f"{type(columns).__name__}."
        )
    name = codec.sample_type.__name__
    known = ", ".join(codec.by_name)
    if unknown := sorted((key for key in columns if key not in codec.by_name), key=str):
        raise EncodeError(
            f"{name} $.{unknown[0]}: no such field; it is a column. The columns of {name} are "
            f"{known}: leave this one out, or add the field to the class."
        )
    found = {key: _values(codec.by_name[key], column) for key, column in columns.items()}
    for field in codec.fields:
        if found and field.name not in found and field.name not in codec.defaults:
            raise EncodeError(
                f"{name} $.{field.name}: expected a column of {field.kind.describe()}, found no "
                f"such field among the columns: {', '.join(found)}. Add the column, or give the "
                "field a default."
            )
    return found


def _values(field: Field, column: Any) -> Values:
    if isinstance(column, list | tuple) or (isinstance(column, np.ndarray) and column.ndim):
        return column
    array = _array(field, column)
    if array is None or not array.ndim:
        raise EncodeError(
            f"Column {field.name!r}: expected an array or a list with one value a sample, found "
            f"{type(column).__name__}."
        )
    # Items of the column are datetimes; items of the array may be in units that equal none.
    return list(column) if array.dtype.kind in "mM" and _is_time(field.kind) else array


def _is_time(kind: Kind) -> bool:
    return isinstance(kind, DateTime | Simple)


def _array(field: Field, column: Any) -> AnyArray | None:
    if isinstance(column, np.ndarray | np.generic | type):
        return None
    if missing := _missing(column):
        instead = f"of [None if pandas.isna(x) else x for x in {field.name}]"
        if not field.optional:
            instead = f"without them, or annotate the field {field.kind.describe()} | None"
        raise EncodeError(
            f"Column {field.name!r}: {missing:,} of {len(column):,} values are missing. Pass a "
            f"column {instead}."
        )
    try:
        if hasattr(column, "__array__"):
            return np.asarray(column)
        if callable(getattr(column, "to_numpy", None)):
            return np.asarray(column.to_numpy())
    except Exception as error:  # any library may raise anything
        raise EncodeError(
            f"Column {field.name!r}: {type(column).__name__} makes no array: {error}. Pass a list, "
            "or an array of NumPy."
        ) from error
    return None


def _missing(column: Any) -> int:
    """How many values a column marks as missing in its own way, which NumPy arrays lack."""
    if isinstance(getattr(column, "dtype", None), np.dtype):
        return 0
    counted = getattr(column, "null_count", None)
    if counted is None and callable(marks := getattr(column, "isna", None)):
        return int(np.count_nonzero(np.asarray(marks())))
    counted = counted() if callable(counted) else counted
    return counted if isinstance(counted, int) else 0
