"""Columns as they are read: an array if one dtype and shape fits, else a list.

Arrays may not be copied yet, and texts not decoded.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from atdata._arrays import AnyArray
from atdata.samples.kinds import Array, Kind, Maybe
from atdata.samples.text_column import TextColumn
from atdata.samples.to_numpy import rows_of
from atdata.shards.columns.strided import StridedRows

CopiedColumn: TypeAlias = AnyArray | list[Any] | TextColumn
"""One value a row: an array of shape (n, …), a list of n, or n texts."""
LazyColumn: TypeAlias = CopiedColumn | StridedRows
"""The same, or arrays that are not copied yet."""


def copied_column(column: LazyColumn, *, copy: bool = True) -> CopiedColumn:
    """A column with its arrays copied; without ``copy``, a view if they have a constant stride."""
    if not isinstance(column, StridedRows):
        return column
    return column.copied() if copy else column.view()


def column_of(values: list[Any]) -> AnyArray | list[Any]:
    """Values as an array if one dtype and shape hold them all, else the list itself.

    Arrays of one dtype and shape (*S) become (n, *S); a copy.
    """
    sorts = set(map(type, values))
    if len(sorts) != 1:
        return values
    (sort,) = sorts
    if sort is bool or sort is float:
        return np.array(values, sort)
    if sort is int:
        return integers(values)
    if sort is np.ndarray and len({(value.dtype, value.shape) for value in values}) == 1:
        # Without its dtype, the other byte order would be lost.
        return np.stack(values, dtype=values[0].dtype)
    return values


def integers(values: list[int]) -> AnyArray | list[Any]:
    """Integers as int64, or uint64 if needed; the list itself if neither holds them."""
    low, high = min(values), max(values)
    if low >= -(2**63) and high < 2**63:
        return np.array(values, np.int64)
    return np.array(values, np.uint64) if low >= 0 and high < 2**64 else values


def as_list(column: LazyColumn, kind: Kind) -> list[Any]:
    """A column as Python values: scalars as int, float and bool; arrays as views of their rows."""
    if isinstance(column, list):
        return column
    if isinstance(column, StridedRows):
        return list(column.each())
    if isinstance(column, TextColumn):
        return column.tolist()
    if not isinstance(kind.kind if isinstance(kind, Maybe) else kind, Array):
        return list(column.tolist())
    return rows_of(column)
